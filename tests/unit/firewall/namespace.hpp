#pragma once

// Runs a piece of a test in a child process with an empty network of its own, so that the machine's rules are never
// touched and tests cannot see each other's. Failed checks are told to the parent by text.

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

namespace vmrouter::firewall::test {

/// What a test in a namespace found wrong.
class Findings {
public:
    void expect(bool good, const std::string& what) {
        if (!good) text_ += what + "\n";
    }
    template <class R>
    bool succeeded(const R& result, const std::string& what) {
        expect(result.has_value(), result ? what : what + ": " + result.error().what);
        return result.has_value();
    }
    [[nodiscard]] const std::string& text() const { return text_; }

private:
    std::string text_;
};

/// For set-up and for looking from outside: a shell command inside the namespace.
inline int shell(const std::string& command) {
    return std::system(command.c_str());
}

inline void in_namespace(const std::function<void(Findings&)>& body) {
    if (::geteuid() != 0) {
        WARN("skipped: needs root");
        return;
    }
    int pipe_fds[2];
    REQUIRE(::pipe(pipe_fds) == 0);
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        Findings findings;
        if (::unshare(CLONE_NEWNET) != 0)
            findings.expect(false, "no network namespace");
        else
            body(findings);
        const std::string& text = findings.text();
        const bool told = ::write(pipe_fds[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
        ::_exit(told ? 0 : 1);
    }
    ::close(pipe_fds[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t size = 0; (size = ::read(pipe_fds[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<std::size_t>(size));
    ::close(pipe_fds[0]);
    int status = 0;
    ::waitpid(child, &status, 0);
    INFO(text);
    CHECK(text.empty());
    CHECK(status == 0);
}

}  // namespace vmrouter::firewall::test
