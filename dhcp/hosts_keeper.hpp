#pragma once

// The reservations of the configuration and of the hosts file together, kept up to date while the file changes.

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "dhcp/file_watcher.hpp"
#include "dhcp/hosts_file.hpp"
#include "dhcp/signal.hpp"
#include "src/base/ip4.hpp"
#include "src/base/result.hpp"

namespace vmrouter::dhcp {

class HostsKeeper {
public:
    explicit HostsKeeper(const asio::any_io_executor& executor);

    /// What the configuration says. Call reload() afterwards.
    void configure(std::vector<HostEntry> configured, const Cidr& segment, std::string interface);
    /// Which file; empty: none. Call reload() afterwards.
    void set_path(std::string path);
    /// Reads the file again. What is wrong with it is logged and costs the lines that are wrong.
    void reload();
    /// Writes a line at the end of the file; reload() makes it count.
    Result<void> append(const HostEntry& entry) const;
    /// Takes the line that append() has just written out again; an error when it is not the last any more.
    Result<void> take_back(const HostEntry& entry) const;

    /// Reads the file whenever it changes, until close().
    asio::awaitable<void> follow();
    void close();

    [[nodiscard]] const Reservations& reservations() const { return reservations_; }
    [[nodiscard]] std::size_t problems() const { return problems_; }  ///< lines that are skipped

private:
    void build(std::vector<Error> problems);

    asio::any_io_executor executor_;
    Signal signal_;
    std::shared_ptr<FileWatcher> watcher_;  ///< none without a file; shared with the coroutine that waits
    bool closed_ = false;
    std::vector<HostEntry> configured_;
    std::vector<HostEntry> from_file_;
    std::string path_;
    Cidr segment_;
    std::string interface_;
    Reservations reservations_;
    std::size_t problems_ = 0;
};

}  // namespace vmrouter::dhcp
