#pragma once

#include <sys/types.h>

#include <asio/any_io_executor.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "src/base/result.hpp"

namespace vmrouter::managers {

/// One program of the system that runs beside the event loop, where waiting for its end could take long.
class Background {
public:
    explicit Background(asio::any_io_executor executor) : executor_(std::move(executor)) {}
    Background(const Background&) = delete;
    Background& operator=(const Background&) = delete;
    ~Background();

    [[nodiscard]] bool running() const { return child_ != nullptr; }
    /// Starts it; an error when it cannot be started or one runs already. Its output goes nowhere; `done` gets its exit
    /// status, from the loop.
    Result<void> start(const std::vector<std::string>& words, std::function<void(int)> done);
    /// Waits until the program has ended, or ends it when that takes too long; `done` is not called any more.
    void finish(std::chrono::milliseconds limit);

private:
    struct Child;
    asio::any_io_executor executor_;
    std::shared_ptr<Child> child_;
};

}  // namespace vmrouter::managers
