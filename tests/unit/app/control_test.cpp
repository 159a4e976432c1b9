#include "src/control.hpp"

#include <grp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "src/commands/follower.hpp"
#include "src/control_client.hpp"
#include "src/metrics_server.hpp"

using namespace vmrouter;
using namespace std::chrono_literals;
using nlohmann::json;

namespace {

/// A server in a thread, that echoes what it is asked and has a big answer.
class Scene {
public:
    Scene() { start(); }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;
    ~Scene() {
        stop();
        std::filesystem::remove_all(folder);
    }
    void start() {
        std::filesystem::create_directories(folder);
        auto socket = open_control_socket(path);
        REQUIRE(socket);
        io = std::make_unique<asio::io_context>(1);
        server = std::make_unique<ControlServer>(*io, std::move(*socket),
                                                 [](const json& request, uid_t uid) -> Result<json> {
                                                     if (request["command"] == "big")
                                                         return json(std::string(300'000, 'x'));
                                                     if (request["command"] == "typed")
                                                         return json(request.at("number").get<int>());
                                                     if (request["command"] == "refused")
                                                         return Failure{Error{"no", "here", "do that"}};
                                                     return json{{"said", request}, {"uid", uid}};
                                                 });
        server->on_followers = [this] { ++changes; };
        thread = std::thread([this] { io->run(); });
    }
    void stop() {
        if (!thread.joinable()) return;
        run([this] {
            server.reset();
            io->stop();
        });
        thread.join();
    }
    /// On the loop, to its end.
    template <class Work>
    void run(Work work) {
        std::promise<void> done;
        asio::post(*io, [&] {
            work();
            done.set_value();
        });
        done.get_future().wait();
    }
    void publish(const json& event) {
        run([&] { server->publish(event); });
    }
    ControlClient connect() const {
        auto client = ControlClient::connect(path);
        REQUIRE(client);
        return std::move(*client);
    }
    FileDescriptor raw() const {
        FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM, 0));
        const auto name = socket_name(path);
        REQUIRE(::connect(socket.get(), reinterpret_cast<const sockaddr*>(&*name), sizeof *name) == 0);
        const timeval limit{10, 0};
        setsockopt(socket.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
        setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        return socket;
    }

    std::string folder = std::filesystem::temp_directory_path() / ("vmrouter-control-" + std::to_string(getpid()));
    std::string path = folder + "/br0.sock";
    std::atomic<int> changes = 0;
    std::unique_ptr<asio::io_context> io;
    std::unique_ptr<ControlServer> server;
    std::thread thread;
};

std::string read_line(int socket) {
    std::string line;
    char c = 0;
    while (::read(socket, &c, 1) == 1) {
        line += c;
        if (c == '\n') break;
    }
    return line;
}

}  // namespace

TEST_CASE("The control socket is for root and the group vmrouter, and takes the place of a dead one") {
    const std::string path = std::filesystem::temp_directory_path() / ("vmrouter-sock-" + std::to_string(getpid()));
    for (int i = 0; i < 2; ++i) {
        const auto socket = open_control_socket(path);
        REQUIRE(socket);
        struct stat status {};
        REQUIRE(stat(path.c_str(), &status) == 0);
        const auto* members = getgrnam("vmrouter");
        const bool shared = members != nullptr && geteuid() == 0;
        CHECK((status.st_mode & 07777) == (shared ? 0660 : 0600));
        CHECK(status.st_uid == geteuid());
        if (shared) CHECK(status.st_gid == members->gr_gid);
    }
    unlink(path.c_str());
    std::filesystem::create_directories(path);
    CHECK(!open_control_socket(path));  // not ours to replace
    std::filesystem::remove(path);
    CHECK(!open_control_socket("/" + std::string(200, 'x')));
}

TEST_CASE("A request is a line and so is its answer, with the user who asked") {
    const Scene scene;
    auto client = scene.connect();
    const auto answer = client.request({{"command", "x"}, {"a", 1}});
    REQUIRE(answer);
    CHECK((*answer)["said"] == json{{"command", "x"}, {"a", 1}});
    CHECK((*answer)["uid"] == getuid());
    const auto refused = client.request({{"command", "refused"}});
    REQUIRE(!refused);
    CHECK((refused.error().what == "no" && refused.error().where == "here" && refused.error().hint == "do that"));
    CHECK(client.request({{"command", "big"}})->get<std::string>().size() == 300'000);
}

TEST_CASE("Requests of no sense are answered and harm nothing") {
    const Scene scene;
    const auto socket = scene.raw();
    for (const std::string line : {"", "{", "[]", "7", "\"x\"", "{}", R"({"command": 7})", R"({"command": "typed"})",
                                   R"({"command": "typed", "number": "x"})", R"({"command": "monitor", "only": ["x"]})",
                                   "\xff\xfe\x01", R"({"command": "monitor", "guest": {}})"}) {
        CAPTURE(line);
        REQUIRE(write_all(socket.get(), line + "\n") == 0);
        const auto answer = json::parse(read_line(socket.get()), nullptr, false);
        REQUIRE(answer.is_object());
        CHECK(answer["ok"] == false);
        CHECK(answer["error"]["what"] != "");
    }
    REQUIRE(write_all(socket.get(), "{\"command\": \"\xff\"}\n") == 0);  // bytes of no character set
    CHECK(read_line(socket.get()) != "");
    CHECK(scene.connect().request({{"command", "x"}}));
}

TEST_CASE("A line without an end ends the connection, and others go on") {
    const Scene scene;
    const auto socket = scene.raw();
    const std::string flood(ControlServer::max_request + 4096, 'x');
    static_cast<void>(::send(socket.get(), flood.data(), flood.size(), MSG_NOSIGNAL));
    CHECK(read_line(socket.get()) == "");
    CHECK(scene.connect().request({{"command", "x"}}));
}

TEST_CASE("One that asks and never reads is not answered without bounds") {
    const Scene scene;
    const auto socket = scene.raw();
    const int small = 4096;
    setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    const std::string line = "{\"command\": \"big\"}\n";
    std::size_t sent = 0;
    for (int i = 0; i < 200'000; ++i) {
        const auto size = ::send(socket.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size <= 0) {  // the server does not take any more: wait whether that stays so
            std::this_thread::sleep_for(50ms);
            if (::send(socket.get(), line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL) <= 0) break;
        }
        ++sent;
    }
    CHECK(sent < 100'000);  // 300 kB each would be 30 GB
    CHECK(scene.connect().request({{"command", "x"}}));
}

TEST_CASE("Followers get what they asked for, and one that does not read is cut off") {
    Scene scene;
    auto all = scene.connect();
    auto dns = scene.connect();
    REQUIRE(all.request({{"command", "monitor"}}));
    REQUIRE(dns.request({{"command", "monitor"}, {"only", {"dns"}}}));
    const auto slow = scene.raw();
    REQUIRE(write_all(slow.get(), "{\"command\": \"monitor\", \"only\": [\"flow\"]}\n") == 0);
    CHECK(json::parse(read_line(slow.get()))["ok"] == true);
    CHECK(scene.changes == 3);
    scene.run([&] { CHECK((scene.server->has_followers("dns") && scene.server->has_followers("lease"))); });

    scene.publish({{"event", "lease"}});
    scene.publish({{"event", "dns"}});
    CHECK((*all.next())["event"] == "lease");
    CHECK((*all.next())["event"] == "dns");
    CHECK((*dns.next())["event"] == "dns");
    CHECK(*dns.next_within(10ms) == std::nullopt);

    auto other = std::move(all);  // reads no more either, but flows are few for it: only the slow one's filter matters
    { const auto gone = std::move(other); }
    const json big{{"event", "flow"}, {"text", std::string(100'000, 'x')}};
    for (int i = 0; i < 40; ++i) scene.publish(big);
    scene.run([&] { CHECK(!scene.server->has_followers("flow")); });
    CHECK(scene.changes >= 5);  // two went
    scene.publish({{"event", "dns"}});
    CHECK((*dns.next())["event"] == "dns");
}

TEST_CASE("There is a place for root when others took theirs, and a place is free again when its client has gone") {
    const Scene scene;
    std::vector<FileDescriptor> crowd;
    for (std::size_t i = 0; i < ControlServer::max_clients; ++i) crowd.push_back(scene.raw());
    const std::string line = "{\"command\": \"x\"}\n";
    for (std::size_t i = 0; i < crowd.size(); ++i) {
        const bool wanted = getuid() == 0 || i < ControlServer::max_unprivileged;
        static_cast<void>(::send(crowd[i].get(), line.data(), line.size(), MSG_NOSIGNAL));
        CHECK((read_line(crowd[i].get()) != "") == wanted);
    }
    const auto late = scene.raw();
    static_cast<void>(::send(late.get(), line.data(), line.size(), MSG_NOSIGNAL));
    CHECK(read_line(late.get()) == "");  // hung up, not left waiting
    crowd.clear();
    bool served = false;
    for (int i = 0; i < 100 && !served; ++i) {
        const auto again = scene.raw();
        static_cast<void>(::send(again.get(), line.data(), line.size(), MSG_NOSIGNAL));
        served = !read_line(again.get()).empty();
        if (!served) std::this_thread::sleep_for(20ms);
    }
    CHECK(served);
}

TEST_CASE("A follower outlives the instance, also when its folder goes meanwhile") {
    Scene scene;
    Follower follower(scene.path, {{"command", "monitor"}, {"only", {"lease"}}});
    REQUIRE(follower.connect());
    std::atomic<int> lost = 0;
    std::atomic<int> back = 0;
    follower.on_lost = [&] { ++lost; };
    follower.on_back = [&] { ++back; };
    scene.publish({{"event", "lease"}, {"n", 1}});
    CHECK((**follower.next(10s))["n"] == 1);

    scene.stop();
    CHECK(*follower.next(20ms) == std::nullopt);
    CHECK((lost == 1 && back == 0));
    std::filesystem::remove_all(scene.folder);
    std::thread later([&] {
        std::this_thread::sleep_for(50ms);
        scene.start();
        for (int i = 0; i < 500 && back == 0; ++i) {
            std::this_thread::sleep_for(10ms);
            bool followed = false;
            scene.run([&] { followed = scene.server->has_followers("lease"); });
            if (!followed) continue;
            scene.publish({{"event", "lease"}, {"n", 2}});
            return;
        }
    });
    const auto event = follower.next(10s);
    later.join();
    REQUIRE((event && *event));
    CHECK((**event)["n"] == 2);
    CHECK((lost == 1 && back == 1));
}

TEST_CASE("The metrics answer to GET /metrics and to nothing else") {
    const auto ask = [](std::string_view head) { return metrics_response(head, [] { return std::string("m 1\n"); }); };
    const auto good = ask("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    CHECK(good.starts_with(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: 4\r\n"));
    CHECK(good.ends_with("\r\n\r\nm 1\n"));
    CHECK(ask("HEAD /metrics HTTP/1.0\r\n\r\n").ends_with("\r\n\r\n"));
    CHECK(ask("GET /metrics?x=1 HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200"));
    CHECK(ask("GET / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404"));
    CHECK(ask("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
    CHECK(ask("GET /metrics\r\n\r\n").starts_with("HTTP/1.1 400"));
    CHECK(ask("\r\n\r\n").starts_with("HTTP/1.1 400"));
    CHECK(ask("").starts_with("HTTP/1.1 400"));
}
