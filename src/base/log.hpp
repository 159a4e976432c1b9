#pragma once

// One logger per module. A line is one event: verb, address, client, name, detail. `error` a person must act; `warn` we
// coped; `info` what changed; `debug` each packet and each silence with its reason. Bytes from the network go through
// escape() first, and what a guest can provoke goes through a TokenBucket.

#include <fmt/core.h>

#include <string>
#include <string_view>

namespace vmrouter::log {

enum class Level { Debug, Info, Warn, Error };

/// Lines below `level` are not formatted. Output goes to stderr: with time and level on a terminal, with a <N> priority
/// prefix when stderr is the journal (sd-daemon(3)).
void set_level(Level level);
bool enabled(Level level);

/// "<3>" where stderr is the journal, which takes it for the priority; empty elsewhere. For what is written past here.
std::string_view prefix(Level level);

/// Writes one finished line.
void write(Level level, std::string_view module, std::string_view line);

class Logger {
public:
    explicit constexpr Logger(std::string_view module) : module_(module) {}

    template <class... Args>
    void debug(fmt::format_string<Args...> format, Args&&... args) const {
        line(Level::Debug, format, fmt::make_format_args(args...));
    }
    template <class... Args>
    void info(fmt::format_string<Args...> format, Args&&... args) const {
        line(Level::Info, format, fmt::make_format_args(args...));
    }
    template <class... Args>
    void warn(fmt::format_string<Args...> format, Args&&... args) const {
        line(Level::Warn, format, fmt::make_format_args(args...));
    }
    template <class... Args>
    void error(fmt::format_string<Args...> format, Args&&... args) const {
        line(Level::Error, format, fmt::make_format_args(args...));
    }

private:
    void line(Level level, fmt::string_view format, fmt::format_args args) const {
        if (enabled(level)) write(level, module_, fmt::vformat(format, args));
    }

    std::string_view module_;  ///< a literal
};

}  // namespace vmrouter::log
