#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>

#include "src/base/file.hpp"
#include "src/base/result.hpp"

namespace vmrouter::recording {

/// Where a capture goes: a file, a pipe, or a ring of files of which the newest are kept.
class Output {
public:
    struct Ring {
        std::uint32_t count = 0;  ///< files
        std::uint64_t bytes = 0;  ///< of each, at most (one packet apart)
    };

    /// `path` "-" is standard output. `head` makes what each file begins with.
    static Result<Output> open(std::string path, std::optional<Ring> ring, std::function<std::string()> head);

    /// Appends whole blocks; goes on to the next file of the ring when this one is full. False when whoever reads the
    /// pipe has gone.
    Result<bool> write(const std::string& blocks);
    /// A block that does not count for the ring: what a file ends with.
    Result<bool> finish(const std::string& blocks);
    /// The file that is written now; "-" for standard output.
    [[nodiscard]] const std::string& path() const { return current_; }
    [[nodiscard]] std::uint64_t written() const { return total_; }

private:
    Output(std::string path, std::optional<Ring> ring, std::function<std::string()> head)
        : path_(std::move(path)), ring_(ring), head_(std::move(head)) {}
    Result<bool> begin();
    Result<bool> put(const std::string& bytes);

    std::string path_;
    std::optional<Ring> ring_;
    std::function<std::string()> head_;
    std::string current_;
    FileDescriptor file_;
    std::uint64_t size_ = 0;  ///< of this file
    std::uint64_t total_ = 0;
    std::uint32_t number_ = 0;
    std::deque<std::string> files_;  ///< of the ring, oldest first
};

/// The name of the `number`th file of a ring: "day.00001.pcapng".
std::string ring_name(const std::string& path, std::uint32_t number);

}  // namespace vmrouter::recording
