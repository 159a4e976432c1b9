#include "dns/resolv.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

using namespace vmrouter;
using namespace vmrouter::dns;
using namespace std::chrono_literals;
namespace fs = std::filesystem;

namespace {

std::vector<std::string> servers(const ResolvConf& conf) {
    std::vector<std::string> text;
    for (const auto& endpoint : conf.nameservers) text.push_back(to_string(endpoint));
    return text;
}
using Names = std::vector<std::string>;

/// A folder of its own for a test, and a watcher whose news are collected while the clock runs.
struct Followed {
    fs::path root = fs::temp_directory_path() / ("vmrouter-resolv-" + std::to_string(::getpid()));
    asio::io_context io;
    std::vector<ResolvConf> news;
    std::optional<ResolvWatcher> watcher;

    Followed() {
        fs::remove_all(root);
        fs::create_directories(root / "etc");
        fs::create_directories(root / "run/resolve");
    }
    ~Followed() {
        if (watcher) {
            watcher->close();
            io.restart();
            io.run_for(1s);
        }
        fs::remove_all(root);
    }
    void write(const std::string& name, const std::string& text) { std::ofstream{root / name} << text; }
    void replace(const std::string& name, const std::string& text) {
        write(name + ".new", text);
        fs::rename(root / (name + ".new"), root / name);
    }
    void follow(const std::string& name) {
        watcher.emplace(io.get_executor(), (root / name).string());
        asio::co_spawn(io, collect(), [](std::exception_ptr) {});
        run(20ms);
    }
    asio::awaitable<void> collect() {
        for (;;) {
            auto conf = co_await watcher->changed();
            news.push_back(std::move(conf));
        }
    }
    void run(std::chrono::milliseconds time) {
        io.restart();
        io.run_for(time);
    }
    /// Runs until there are `count` pieces of news, at most `limit`.
    bool wait(std::size_t count, std::chrono::milliseconds limit = 1000ms) {
        const auto end = std::chrono::steady_clock::now() + limit;
        while (news.size() < count && std::chrono::steady_clock::now() < end) run(10ms);
        return news.size() >= count;
    }
};

}  // namespace

TEST_CASE("an endpoint is an address with port and zone and nothing else") {
    CHECK(to_string(*Endpoint::parse("192.168.0.1")) == "192.168.0.1");
    CHECK(to_string(*Endpoint::parse("9.9.9.9:53")) == "9.9.9.9");
    CHECK(to_string(*Endpoint::parse("9.9.9.9:5353")) == "9.9.9.9:5353");
    CHECK(to_string(*Endpoint::parse("2620:fe::fe")) == "2620:fe::fe");
    CHECK(to_string(*Endpoint::parse("[2620:fe::fe]:54")) == "[2620:fe::fe]:54");
    CHECK(to_string(*Endpoint::parse("fe80::1%eth0")) == "fe80::1%eth0");
    CHECK(to_string(*Endpoint::parse("[fe80::1%eth0]:99")) == "[fe80::1%eth0]:99");
    for (const char* wrong :
         {"", "dns.example", "9.9.9.9:", "9.9.9.9:0", "9.9.9.9:99999", "9.9.9.9 ", "[9.9.9.9]:53", "::", "0.0.0.0",
          "255.255.255.255", "224.0.0.251", "ff02::fb", "[::1", "[::1]x", "fe80::1%", "fe80::1%a/b", "1.2.3.4:5:6"})
        CHECK(!Endpoint::parse(wrong));
}

TEST_CASE("the zone of a link-local server must exist to be asked") {
    sockaddr_storage storage{};
    CHECK(Endpoint::parse("fe80::1%lo")->fill(storage) == sizeof(sockaddr_in6));
    CHECK(Endpoint::parse("fe80::1%no-such-if")->fill(storage) == 0);
    CHECK(Endpoint::parse("127.0.0.53")->fill(storage) == sizeof(sockaddr_in));
}

TEST_CASE("resolv.conf is read as the host's resolver reads it") {
    const auto conf = parse_resolv_conf(
        "# comment\n; another\nnameserver 127.0.0.53\nnameserver\t2001:db8::1 # home\r\n nameserver fe80::1%eth0\n"
        "nameserver 127.0.0.53\nnameserver dns.example\nnameserver\noptions edns0 trust-ad\n"
        "domain first.example\nsearch Corp.Example. lan . home.arpa\nnameserver 0.0.0.0");
    CHECK(servers(conf) == Names{"127.0.0.53", "2001:db8::1", "fe80::1%eth0", "127.0.0.1"});
    CHECK(conf.search == Names{"corp.example", "lan", "home.arpa"});
    REQUIRE(conf.complaints.size() == 2);
    CHECK(conf.complaints[0] == "line 7: 'dns.example' is not an address");
}

TEST_CASE("a resolv.conf with thousands of servers or binary rubbish is taken as far as it makes sense") {
    std::string text;
    for (int i = 0; i < 5000; ++i)
        text += "nameserver 10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1) + "\n";
    CHECK(parse_resolv_conf(text).nameservers.size() == 16);
    CHECK(parse_resolv_conf(std::string("nameserver \0 1.1.1.1\n\xff\xfe", 24)).nameservers.empty());
    CHECK(read_resolv_conf("/nonexistent/resolv.conf").complaints.size() == 1);
}

TEST_CASE("where queries must leave by a device the servers behind a stub are followed") {
    Followed f;
    const auto stub = (f.root / "etc/resolv.conf").string();
    const auto behind = (f.root / "run/resolve/resolv.conf").string();
    f.write("etc/resolv.conf", "nameserver 127.0.0.53\n");
    CHECK(resolv_conf_for_device(stub, behind) == stub);  // nothing is there
    f.write("run/resolve/resolv.conf", "nameserver 192.168.1.1\n");
    CHECK(resolv_conf_for_device(stub, behind) == behind);
    f.write("etc/resolv.conf", "nameserver 192.168.1.9\n");
    CHECK(resolv_conf_for_device(stub, behind) == stub);
    f.write("etc/resolv.conf", "nameserver 127.0.0.1\n");  // another resolver of the host: its servers are unknown
    CHECK(resolv_conf_for_device(stub, behind) == stub);
}

TEST_CASE("a change of resolv.conf is noticed however it is made") {
    Followed f;
    f.write("etc/resolv.conf", "nameserver 10.0.0.1\n");
    f.follow("etc/resolv.conf");
    CHECK(servers(f.watcher->current()) == Names{"10.0.0.1"});

    SECTION("rewritten in place") {
        f.write("etc/resolv.conf", "nameserver 10.0.0.2\n");
    }
    SECTION("replaced by rename") {
        f.replace("etc/resolv.conf", "nameserver 10.0.0.2\n");
    }
    SECTION("removed and made anew") {
        fs::remove(f.root / "etc/resolv.conf");
        f.run(30ms);
        f.write("etc/resolv.conf", "nameserver 10.0.0.2\n");
    }
    SECTION("made a link") {
        f.write("run/resolve/stub.conf", "nameserver 10.0.0.2\n");
        fs::create_symlink("../run/resolve/stub.conf", f.root / "etc/new");
        fs::rename(f.root / "etc/new", f.root / "etc/resolv.conf");
    }
    SECTION("its folder replaced") {
        fs::create_directories(f.root / "etc2");
        f.write("etc2/resolv.conf", "nameserver 10.0.0.2\n");
        fs::rename(f.root / "etc", f.root / "etc.old");
        fs::rename(f.root / "etc2", f.root / "etc");
    }
    REQUIRE(f.wait(1));
    CHECK(servers(f.news[0]) == Names{"10.0.0.2"});
    f.write("etc/resolv.conf", "nameserver 10.0.0.3\n");  // through whatever it is now
    REQUIRE(f.wait(2));
    CHECK(servers(f.news[1]) == Names{"10.0.0.3"});
}

TEST_CASE("a chain of links is followed through every folder it passes") {
    Followed f;
    fs::create_symlink(f.root / "run/link", f.root / "etc/resolv.conf");
    fs::create_symlink("resolve/stub.conf", f.root / "run/link");
    f.write("run/resolve/stub.conf", "nameserver 10.0.0.1\n");
    f.follow("etc/resolv.conf");
    CHECK(servers(f.watcher->current()) == Names{"10.0.0.1"});

    SECTION("the file at the end") {
        f.replace("run/resolve/stub.conf", "nameserver 10.0.0.2\n");
    }
    SECTION("the link in the middle") {
        f.write("run/other", "nameserver 10.0.0.2\n");
        fs::create_symlink("other", f.root / "run/new");
        fs::rename(f.root / "run/new", f.root / "run/link");
    }
    SECTION("the folder in the middle") {
        fs::rename(f.root / "run/resolve", f.root / "run/gone");
        fs::create_directory(f.root / "run/resolve");
        f.write("run/resolve/stub.conf", "nameserver 10.0.0.2\n");
    }
    REQUIRE(f.wait(1));
    CHECK(servers(f.news[0]) == Names{"10.0.0.2"});
}

TEST_CASE("a dangling link and a missing folder recover by themselves") {
    Followed f;
    fs::create_symlink("../run/later/stub.conf", f.root / "etc/resolv.conf");
    f.follow("etc/resolv.conf");
    CHECK(f.watcher->current().nameservers.empty());

    fs::create_directories(f.root / "run/later");
    f.run(50ms);
    f.write("run/later/stub.conf", "nameserver 10.0.0.2\n");
    REQUIRE(f.wait(1));
    CHECK(servers(f.news[0]) == Names{"10.0.0.2"});

    fs::remove_all(f.root / "run/later");
    REQUIRE(f.wait(2));
    CHECK(f.news[1].nameservers.empty());
}

TEST_CASE("a slow rewrite is never seen half done") {
    Followed f;
    f.write("etc/resolv.conf", "nameserver 10.0.0.1\n");
    f.follow("etc/resolv.conf");
    {
        std::ofstream out{f.root / "etc/resolv.conf"};  // truncated now
        f.run(200ms);
        out << "nameserver 10.0.0.2\n" << std::flush;
        f.run(40ms);
        out << "nameserver 10.0.0.3\n";
    }
    REQUIRE(f.wait(1));
    f.run(300ms);
    REQUIRE(f.news.size() == 1);
    CHECK(servers(f.news[0]) == Names{"10.0.0.2", "10.0.0.3"});
}

TEST_CASE("what does not change the servers is no news") {
    Followed f;
    f.write("etc/resolv.conf", "nameserver 10.0.0.1\n");
    f.follow("etc/resolv.conf");
    f.write("etc/resolv.conf", "# new comment\nnameserver 10.0.0.1\noptions rotate\n");
    f.write("etc/hosts", "10.0.0.2 nameserver\n");
    f.watcher->nudge();
    CHECK(!f.wait(1, 600ms));
}
