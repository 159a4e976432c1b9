// What was acknowledged is on disk: shown by killing the server, by the order of its system calls, and by disks that
// are full or read-only.

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <random>

#include "dhcp/journal.hpp"
#include "tests/unit/dhcp/service_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

extern char** environ;

namespace {

constexpr const char* server_case = "A server that other tests start and kill";
constexpr const char* folder_variable = "VMROUTER_TEST_FOLDER";

Paths paths_in(const std::string& folder) {
    return Paths::beside(folder + "/leases", folder + "/hostsfile");
}

/// The server as a process of its own, in the namespace of the calling thread.
class Process {
public:
    explicit Process(const std::string& folder, std::vector<std::string> under = {}) {
        setenv(folder_variable, folder.c_str(), 1);
        setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
        std::vector<std::string> words = std::move(under);
        words.push_back(std::filesystem::read_symlink("/proc/self/exe"));
        words.emplace_back(server_case);
        std::vector<char*> arguments;
        for (auto& word : words) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        const std::string log = folder + "/log";
        posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
        posix_spawn_file_actions_adddup2(&files, 1, 2);
        REQUIRE(posix_spawnp(&pid_, arguments[0], &files, nullptr, arguments.data(), environ) == 0);
        posix_spawn_file_actions_destroy(&files);
    }
    ~Process() { end(SIGKILL); }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    void end(int signal) {
        if (pid_ <= 0) return;
        kill(pid_, signal);
        waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

private:
    pid_t pid_ = -1;
};

/// Everything that guests were promised, as they know it.
struct Promises {
    std::map<MacAddress, Ipv4> given;
    std::size_t acks = 0;

    /// Follows every offer by its request, and notes every ACK.
    void converse(Guests& guests) {
        for (const Heard& heard : guests.replies()) {
            const auto mac = *heard.message.chaddr.mac();
            if (heard.message.type() == MessageType::Offer) guests.request(mac, heard.message.yiaddr);
            if (heard.message.type() == MessageType::Nak) given.erase(mac);
            if (heard.message.type() != MessageType::Ack) continue;
            given[mac] = heard.message.yiaddr;
            ++acks;
        }
    }
};

template <class Condition>
bool wait_until(Condition condition, Milliseconds limit) {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    while (!condition()) {
        if (std::chrono::steady_clock::now() > deadline) return false;
        std::this_thread::sleep_for(Milliseconds{1});
    }
    return true;
}

/// A small file system of its own at `path`, seen by the calling thread and its children only.
class SmallFileSystem {
public:
    explicit SmallFileSystem(std::string path) : path_(std::move(path)) {
        REQUIRE(unshare(CLONE_NEWNS) == 0);
        REQUIRE(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0);
        REQUIRE(mount("tmpfs", path_.c_str(), "tmpfs", 0, "size=64k") == 0);
    }
    ~SmallFileSystem() { umount2(path_.c_str(), MNT_DETACH); }
    SmallFileSystem(const SmallFileSystem&) = delete;
    SmallFileSystem& operator=(const SmallFileSystem&) = delete;
    void remount(unsigned long flags) {
        REQUIRE(mount("none", path_.c_str(), nullptr, MS_REMOUNT | flags, nullptr) == 0);
    }

private:
    std::string path_;
};

void fill(const std::string& path) {
    const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const std::string block(4096, 'x');
    while (write_all(file.get(), block) == 0) {
    }
}

}  // namespace

TEST_CASE("A server that other tests start and kill", "[.]") {
    const char* folder = std::getenv(folder_variable);
    if (folder == nullptr) return;
    asio::io_context io;
    SystemClock clock;
    SystemRandom random;
    RecordingObserver observer;
    ServiceSetup setup;
    setup.config = server_config();
    setup.config.ping_check = false;
    setup.config.range = {Ipv4(192, 168, 100, 2), Ipv4(192, 168, 100, 250)};
    setup.paths = paths_in(folder);
    setup.sockets = std::move(*open_sockets("near"));
    Service service(io.get_executor(), std::move(setup), clock, random, observer);
    service.load();
    asio::co_spawn(io, service.run(), [](std::exception_ptr error) {
        if (error) std::rethrow_exception(error);
    });
    io.run();
}

TEST_CASE("A server that is killed at any moment two hundred times loses no acknowledged lease") {
    in_namespace([] {
        const TemporaryFolder folder;
        make_cable();
        Guests guests("far");
        Promises promises;
        std::mt19937 dice(7);
        std::size_t rounds_with_acks = 0;
        for (int round = 0; round < 200; ++round) {
            INFO("round " << round);
            Process server(folder.path);
            const auto crowd = [&] {
                for (std::uint16_t i = 0; i < 6; ++i)
                    guests.discover(guest_mac(static_cast<std::uint16_t>(dice() % 200)));
            };
            REQUIRE(wait_until(
                [&] {
                    guests.discover(guest_mac(1));
                    return !guests.replies().empty();
                },
                Milliseconds{10000}));
            const auto before = promises.acks;
            crowd();
            // Every second round dies at any moment after its first ACK, however slow the machine; the others at any
            // moment at all.
            const auto patience = std::chrono::steady_clock::now() + std::chrono::seconds(10);
            while (round % 2 == 0 && promises.acks == before && std::chrono::steady_clock::now() < patience)
                promises.converse(guests);
            const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(dice() % 60000);
            while (std::chrono::steady_clock::now() < end) {
                promises.converse(guests);
                if (dice() % 50 == 0) crowd();
            }
            server.end(SIGKILL);
            promises.converse(guests);  // what was on its way
            rounds_with_acks += promises.acks > before ? 1 : 0;

            std::map<MacAddress, Ipv4> kept;
            for (const Lease& lease : load_leases(paths_in(folder.path))) {
                CHECK(kept.emplace(*lease.hardware.mac(), lease.address).second);
            }
            for (const auto& [mac, address] : promises.given) {
                INFO(to_string(mac) << " was given " << to_string(address));
                REQUIRE(kept.contains(mac));
                REQUIRE(kept.at(mac) == address);
            }
        }
        CHECK(rounds_with_acks >= 100);
        CHECK(promises.given.size() > 100);
    });
}

TEST_CASE("The record is written and synced before the ACK is sent") {
    if (std::system("command -v strace >/dev/null") != 0) {
        WARN("skipped: there is no strace");
        return;
    }
    in_namespace([] {
        const TemporaryFolder folder;
        make_cable();
        Guests guests("far");
        Promises promises;
        const std::string trace = folder / "trace";
        Process server(folder.path,
                       {"strace", "-D", "-f", "-y", "-s", "600", "-o", trace, "-e", "trace=write,fdatasync,sendmmsg"});
        std::uint16_t number = 0;  // each ACK is another guest's: one that is told again needs no record
        REQUIRE(wait_until(
            [&] {
                guests.discover(guest_mac(++number));
                std::this_thread::sleep_for(Milliseconds{50});
                promises.converse(guests);
                return promises.acks >= 2;
            },
            Milliseconds{20000}));
        server.end(SIGKILL);

        REQUIRE(wait_until([&] { return read_file(trace)->find("+++ killed by SIGKILL") != std::string::npos; },
                           Milliseconds{5000}));

        // Offers may leave meanwhile; an ACK is known by its first option, in the octal of strace.
        const std::string ack = R"(c\202Sc5\1\005)";
        std::ifstream lines(trace);
        std::string line;
        std::size_t written = 0;  // records in the journal, of which so many were there when the last sync began
        std::size_t syncing = 0;
        std::size_t synced = 0;
        std::size_t sent = 0;
        while (std::getline(lines, line)) {
            const auto has = [&](const char* text) { return line.find(text) != std::string::npos; };
            if (has("leases.journal>, \"+ ")) ++written;
            if (has("fdatasync(") && has("leases.journal>")) syncing = written;
            if (has("fdatasync") && has("= 0")) synced = syncing;
            if (!has("sendmmsg(") || !has(ack.c_str())) continue;
            ++sent;
            INFO(line);
            CHECK(synced >= sent);
        }
        CHECK(sent >= 2);
    });
}

TEST_CASE("On a full file system new guests are refused until there is room and nothing is torn") {
    in_namespace([] {
        Segment segment;
        segment.stop();
        SmallFileSystem disk(segment.folder.path);
        segment.start();
        const Ipv4 known = segment.lease(guest_mac(1));
        segment.run(Milliseconds{30});
        fill(segment.folder / "ballast");

        // The page that the journal ends in still has room; use it up.
        std::uint16_t number = 2;
        std::map<MacAddress, Ipv4> acknowledged;
        while (segment.service->health().storage_ok && number < 200) {
            const MacAddress mac = guest_mac(number++);
            segment.guests->discover(mac);
            const Ipv4 offered = segment.next(mac).message.yiaddr;
            segment.guests->request(mac, offered);
            const auto answered = [&](const auto& all) {
                return !all.empty() || !segment.service->health().storage_ok;
            };
            for (const auto& heard : segment.run(Milliseconds{5000}, answered))
                if (heard.message.type() == MessageType::Ack) acknowledged[mac] = heard.message.yiaddr;
        }
        REQUIRE_FALSE(segment.service->health().storage_ok);
        CHECK(segment.service->health().storage_error.find("No space left") != std::string::npos);
        CHECK(segment.service->leases().size() == acknowledged.size() + 1);
        segment.guests->renew(guest_mac(1), known);
        CHECK(segment.next(guest_mac(1)).message.type() == MessageType::Ack);

        std::filesystem::remove(segment.folder / "ballast");
        segment.run(Milliseconds{15000}, [&](const auto&) { return segment.service->health().storage_ok; });
        REQUIRE(segment.service->health().storage_ok);
        acknowledged[guest_mac(1000)] = segment.lease(guest_mac(1000));
        std::map<MacAddress, Ipv4> kept;
        for (const auto& lease : load_leases(paths_in(segment.folder.path)))
            kept[*lease.hardware.mac()] = lease.address;
        for (const auto& [mac, address] : acknowledged) CHECK(kept[mac] == address);
        CHECK(parse_journal(*read_file(segment.folder / "leases.journal")).bad.empty());
        segment.stop();
    });
}

TEST_CASE("On a read-only file system known guests are served from the start") {
    in_namespace([] {
        Segment segment;
        segment.stop();
        SmallFileSystem disk(segment.folder.path);
        segment.start();
        const Ipv4 known = segment.lease(guest_mac(1));
        segment.stop();
        disk.remount(MS_RDONLY);
        segment.start();
        segment.run(Milliseconds{50});
        CHECK_FALSE(segment.service->health().storage_ok);
        CHECK(segment.service->health().storage_error.find("Read-only file system") != std::string::npos);
        segment.guests->renew(guest_mac(1), known);
        CHECK(segment.next(guest_mac(1)).message.type() == MessageType::Ack);
        segment.guests->discover(guest_mac(2));
        CHECK(segment.silent());
        disk.remount(0);
        segment.run(Milliseconds{15000}, [&](const auto&) { return segment.service->health().storage_ok; });
        segment.lease(guest_mac(2));
        segment.stop();
    });
}

TEST_CASE("A journal that has grown is replaced by a short one while guests are served") {
    in_namespace([] {
        Segment segment;
        const Ipv4 address = segment.lease(guest_mac(1));
        for (int i = 0; i < 1200; ++i) {
            segment.clock.sleep(Seconds{1});  // a renewal that comes sooner is not written
            segment.guests->renew(guest_mac(1), address);
            REQUIRE(segment.next(guest_mac(1)).message.type() == MessageType::Ack);
        }
        CHECK(segment.service->counters().commits > 1200);
        segment.run(Milliseconds{20});
        const auto journal = parse_journal(*read_file(segment.folder / "leases.journal"));
        CHECK(journal.records.size() < 400);
        CHECK(journal.records.back().lease->address == address);
    });
}
