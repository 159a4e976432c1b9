#include "src/privileged/local.hpp"

#include <unistd.h>

namespace vmrouter {

std::string changes_path(const Folders& folders, const std::string& instance) {
    return folders.run + "/" + instance + ".changes";
}

Result<std::unique_ptr<Privileged>> open_privileged(asio::any_io_executor executor, const Folders& folders) {
    if (geteuid() != 0)
        return Failure{Error{"vmrouter changes bridges and firewall rules, which takes root",
                             {},
                             "run it with sudo; `vmrouter check` and `vmrouter plan` need no root"}};
    auto netlink = link::Netlink::open();
    if (!netlink) return Failure{std::move(netlink).error()};
    auto nft = firewall::Nft::open();
    if (!nft) return Failure{std::move(nft).error()};
    return std::unique_ptr<Privileged>(
        std::make_unique<LocalPrivileged>(std::move(executor), folders, std::move(*netlink), std::move(*nft)));
}

}  // namespace vmrouter
