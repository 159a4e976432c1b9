#include "src/capture/output.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace vmrouter::recording {

std::string ring_name(const std::string& path, std::uint32_t number) {
    auto digits = std::to_string(number);
    if (digits.size() < 5) digits.insert(0, 5 - digits.size(), '0');
    std::filesystem::path name(path);
    const auto extension = name.extension().string();
    return name.replace_extension(digits + extension).string();
}

Result<Output> Output::open(std::string path, std::optional<Ring> ring, std::function<std::string()> head) {
    Output output(std::move(path), ring, std::move(head));
    if (auto begun = output.begin(); !begun) return Failure{std::move(begun).error()};
    return output;
}

Result<bool> Output::begin() {
    size_ = 0;
    if (path_ == "-") {
        current_ = path_;
        file_ = FileDescriptor(fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0));
    } else {
        current_ = ring_ ? ring_name(path_, ++number_) : path_;
        file_ = FileDescriptor(::open(current_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
    }
    if (!file_) return Failure{system_error("cannot write there", errno, current_)};
    if (ring_) {
        files_.push_back(current_);
        if (files_.size() > ring_->count) {
            unlink(files_.front().c_str());
            files_.pop_front();
        }
    }
    return put(head_());
}

Result<bool> Output::put(const std::string& bytes) {
    const int failed = write_all(file_.get(), bytes);
    if (failed == EPIPE) return false;
    if (failed != 0) return Failure{system_error("cannot write the packets", failed, current_)};
    size_ += bytes.size();
    total_ += bytes.size();
    return true;
}

Result<bool> Output::write(const std::string& blocks) {
    if (ring_ && size_ + blocks.size() > ring_->bytes)
        if (auto begun = begin(); !begun || !*begun) return begun;
    return put(blocks);
}

Result<bool> Output::finish(const std::string& blocks) {
    return put(blocks);
}

}  // namespace vmrouter::recording
