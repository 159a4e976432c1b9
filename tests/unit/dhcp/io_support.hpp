#pragma once

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <functional>
#include <string>
#include <thread>

#include "src/base/clock.hpp"

namespace vmrouter::dhcp::test {

struct TemporaryFolder {
    TemporaryFolder() {
        std::string name = std::filesystem::temp_directory_path() / "vmrouter-dhcp-XXXXXX";
        path = mkdtemp(name.data());
    }
    ~TemporaryFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path, ignored);
    }
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    [[nodiscard]] std::string operator/(const std::string& name) const { return path + "/" + name; }
    std::string path;
};

inline asio::awaitable<void> sleep_for(asio::io_context& io, Milliseconds time) {
    asio::steady_timer timer(io, time);
    co_await timer.async_wait(asio::use_awaitable);
}

/// Runs one coroutine to its end, and whatever else the context has meanwhile; fails after `limit`.
inline void finish(asio::io_context& io, asio::awaitable<void> task, Milliseconds limit = Milliseconds{20000}) {
    bool done = false;
    std::exception_ptr failure;
    asio::co_spawn(io, std::move(task), [&](std::exception_ptr error) {
        done = true;
        failure = error;
    });
    const auto deadline = std::chrono::steady_clock::now() + limit;
    io.restart();
    while (!done && std::chrono::steady_clock::now() < deadline) io.run_one_for(Milliseconds{100});
    if (failure) std::rethrow_exception(failure);
    REQUIRE(done);
}

/// Runs `body` on a thread in a network namespace of its own, so that nothing of it touches this machine's network.
/// Without root the test is skipped, with a word.
inline void in_namespace(const std::function<void()>& body) {
    if (geteuid() != 0) {
        WARN("skipped: a network namespace needs root");
        return;
    }
    std::exception_ptr failure;
    bool entered = true;
    std::thread([&] {
        if (unshare(CLONE_NEWNET) != 0) {
            entered = false;
            return;
        }
        try {
            body();
        } catch (...) {
            failure = std::current_exception();
        }
    }).join();
    if (!entered) WARN("skipped: this system allows no network namespace");
    if (failure) std::rethrow_exception(failure);
}

/// Makes every write past `bytes` of any file fail with EFBIG while it lives: a disk that is full.
class FullDisk {
public:
    explicit FullDisk(rlim_t bytes) {
        signal(SIGXFSZ, SIG_IGN);
        getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{bytes, before_.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before_); }
    FullDisk(const FullDisk&) = delete;
    FullDisk& operator=(const FullDisk&) = delete;

private:
    rlimit before_{};
};

/// Sends what is logged to a file while it lives.
class LogOf {
public:
    explicit LogOf(const std::string& path) : before_(dup(2)) {
        const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        REQUIRE(file >= 0);
        dup2(file, 2);
        close(file);
    }
    ~LogOf() {
        dup2(before_, 2);
        close(before_);
    }
    LogOf(const LogOf&) = delete;
    LogOf& operator=(const LogOf&) = delete;

private:
    int before_;
};

/// A command in the namespace of the calling thread.
inline void shell(const std::string& command) {
    INFO(command);
    REQUIRE(std::system(command.c_str()) == 0);
}

/// A cable between `near` and `far` that carries frames: one that is sent before both ends are up is lost.
inline void plug_cable() {
    shell("ip link add near type veth peer name far && ip link set near up && ip link set far up");
    shell(
        "for end in near far; do for i in $(seq 500); do "
        "ip link show $end | grep -q 'state UP' && continue 2; sleep 0.01; done; exit 1; done");
}

}  // namespace vmrouter::dhcp::test
