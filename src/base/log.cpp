#include "src/base/log.hpp"

#include <spdlog/details/null_mutex.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>

namespace vmrouter::log {
namespace {

spdlog::level::level_enum to_spdlog(Level level) {
    switch (level) {
        case Level::Debug:
            return spdlog::level::debug;
        case Level::Info:
            return spdlog::level::info;
        case Level::Warn:
            return spdlog::level::warn;
        case Level::Error:
            return spdlog::level::err;
    }
    return spdlog::level::info;
}

/// True when stderr goes straight to the journal: JOURNAL_STREAM holds its device and inode (systemd.exec(5)).
bool stderr_is_journal() {
    const char* stream = std::getenv("JOURNAL_STREAM");
    struct stat status {};
    if (stream == nullptr || fstat(STDERR_FILENO, &status) != 0) return false;
    return std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino) == stream;
}

std::string_view journal_prefix(spdlog::level::level_enum level) {
    if (level >= spdlog::level::err) return "<3>";
    if (level == spdlog::level::warn) return "<4>";
    return level == spdlog::level::info ? "<6>" : "<7>";
}

/// One write(2) a line to stderr. The journal gets a priority prefix and adds the time itself.
class StderrSink final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
public:
    StderrSink() : journal_(stderr_is_journal()) { set_pattern_(journal_ ? "[%n] %v" : "%H:%M:%S [%n] %l: %v"); }

private:
    void sink_it_(const spdlog::details::log_msg& message) override {
        spdlog::memory_buf_t line;
        if (journal_) {
            const auto priority = journal_prefix(message.level);
            line.append(priority.data(), priority.data() + priority.size());
        }
        formatter_->format(message, line);
        [[maybe_unused]] const auto written = ::write(STDERR_FILENO, line.data(), line.size());
    }
    void flush_() override {}

    bool journal_;
};

struct Output {
    std::shared_ptr<StderrSink> sink = std::make_shared<StderrSink>();
    Level level = Level::Info;
};

Output& output() {
    static Output instance;
    return instance;
}

}  // namespace

void set_level(Level level) {
    output().level = level;
}

bool enabled(Level level) {
    return level >= output().level;
}

std::string_view prefix(Level level) {
    static const bool journal = stderr_is_journal();
    return journal ? journal_prefix(to_spdlog(level)) : std::string_view();
}

void write(Level level, std::string_view module, std::string_view line) {
    const spdlog::details::log_msg message(spdlog::string_view_t(module.data(), module.size()), to_spdlog(level),
                                           spdlog::string_view_t(line.data(), line.size()));
    output().sink->log(message);
}

}  // namespace vmrouter::log
