#include "src/managers/background.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <asio/posix/stream_descriptor.hpp>
#include <cerrno>

#include "src/base/file.hpp"
#include "src/managers/runner.hpp"

namespace vmrouter::managers {

struct Background::Child {
    Child(const asio::any_io_executor& executor, pid_t process, int pidfd)
        : pid(process), descriptor(executor, pidfd) {}
    pid_t pid;
    asio::posix::stream_descriptor descriptor;
};

Background::~Background() {
    finish(std::chrono::milliseconds(0));
}

Result<void> Background::start(const std::vector<std::string>& words, std::function<void(int)> done) {
    const std::string name = words.empty() ? std::string() : words.front();
    if (child_) return Failure{Error{"another program has not ended yet", name, {}}};
    const FileDescriptor nowhere(open("/dev/null", O_RDWR | O_CLOEXEC));
    const auto pid = start_program(words, nowhere.get());
    if (!pid) return Failure{pid.error()};
    const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, *pid, 0));
    if (pidfd < 0) {
        auto error = system_error("cannot watch the program", errno, name);
        kill(*pid, SIGKILL);
        wait_for_program(*pid);
        return Failure{std::move(error)};
    }
    child_ = std::make_shared<Child>(executor_, *pid, pidfd);
    child_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                  [this, child = child_, done = std::move(done)](const asio::error_code& failed) {
                                      if (failed) return;  // finish() was faster
                                      child_.reset();
                                      done(wait_for_program(child->pid));
                                  });
    return {};
}

void Background::finish(std::chrono::milliseconds limit) {
    if (!child_) return;
    pollfd end{child_->descriptor.native_handle(), POLLIN, 0};
    int ready = 0;
    do ready = poll(&end, 1, static_cast<int>(limit.count()));
    while (ready < 0 && errno == EINTR);
    if (ready <= 0) kill(child_->pid, SIGKILL);
    wait_for_program(child_->pid);
    child_->descriptor.close();
    child_.reset();
}

}  // namespace vmrouter::managers
