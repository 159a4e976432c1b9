#include "firewall/nft.hpp"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/msg.h>
#include <nftables/libnftables.h>
#include <sys/mman.h>

#include <cerrno>

#include "firewall/netfilter_socket.hpp"
#include "src/base/log.hpp"
#include "src/base/text.hpp"

namespace vmrouter::firewall {

namespace {

constexpr log::Logger logger{"firewall"};
constexpr std::string_view script_name = "generated rules";

/// Asks for the generation of the rules, the cheapest question there is: is nf_tables there, and may we use it?
Result<void> probe() {
    auto socket = open_netfilter_socket();
    if (!socket) return Failure{socket.error()};
    struct {
        nlmsghdr header;
        nfgenmsg family;
    } request{};
    request.header.nlmsg_len = sizeof request;
    request.header.nlmsg_type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETGEN;
    request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    const auto answer =
        netfilter_exchange(socket->get(), {reinterpret_cast<const std::uint8_t*>(&request), sizeof request});
    if (!answer) return Failure{answer.error()};
    if (*answer == EPERM)
        return Failure{Error{"may not change the firewall", {}, "run as root, or with CAP_NET_ADMIN"}};
    if (*answer != 0)
        return Failure{system_error("the kernel has no nftables", *answer, {},
                                    "it needs CONFIG_NF_TABLES (try: modprobe nf_tables) and Linux 5.4 or later")};
    return {};
}

/// The path by which the library reads the text: only from a file does it name line and column.
Result<FileDescriptor> script_file(const std::string& text) {
    FileDescriptor fd(::memfd_create("vmrouter.nft", MFD_CLOEXEC));
    if (!fd) return Failure{system_error("no memory for the rules", errno)};
    if (const int error = write_all(fd.get(), text); error != 0)
        return Failure{system_error("no memory for the rules", error)};
    return fd;
}

std::string replaced(std::string text, const std::string& what, std::string_view by) {
    for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
        text.replace(at, what.size(), by);
    return text;
}

/// The first complaint in one line; the rest would repeat the rule.
Error failure(nft_ctx* context, const std::string& path) {
    const char* buffer = nft_ctx_get_error_buffer(context);
    const std::string message = replaced(buffer != nullptr ? buffer : "", path, script_name);
    logger.debug("REFUSED {}", escape(message, 4096));
    const std::string first(trim(std::string_view(message).substr(0, message.find('\n'))));
    return Error{"nftables refused our rules: " + (first.empty() ? "no reason given" : first),
                 {},
                 "run with log level debug to see the rules; `nft list ruleset` shows what is in force"};
}

}  // namespace

void Nft::Free::operator()(nft_ctx* context) const {
    nft_ctx_free(context);
}

Result<Nft> Nft::open() {
    if (const auto usable = probe(); !usable) return Failure{usable.error()};
    nft_ctx* context = nft_ctx_new(NFT_CTX_DEFAULT);
    if (context == nullptr) return Failure{Error{"libnftables gives no context", {}, "is memory short?"}};
    nft_ctx_buffer_output(context);
    nft_ctx_buffer_error(context);
    return Nft(context);
}

Result<void> Nft::run(const std::string& text) {
    if (text.empty()) return {};
    const auto file = script_file(text);
    if (!file) return Failure{file.error()};
    const std::string path = "/proc/self/fd/" + std::to_string(file->get());
    nft_ctx_output_set_flags(context_.get(), 0);
    if (nft_run_cmd_from_filename(context_.get(), path.c_str()) != 0) return Failure{failure(context_.get(), path)};
    return {};
}

Result<void> Nft::check(const std::string& text) {
    nft_ctx_set_dry_run(context_.get(), true);
    auto taken = run(text);
    nft_ctx_set_dry_run(context_.get(), false);
    return taken;
}

Result<std::string> Nft::list(const std::string& command) {
    return output(command, NFT_CTX_OUTPUT_JSON);
}

Result<std::string> Nft::list_rules(const std::string& command) {
    return output(command, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_TERSE);
}

Result<std::string> Nft::output(const std::string& command, unsigned int flags) {
    nft_ctx_output_set_flags(context_.get(), flags);
    const int result = nft_run_cmd_from_buffer(context_.get(), command.c_str());
    nft_ctx_output_set_flags(context_.get(), 0);
    if (result != 0) return Failure{failure(context_.get(), "<cmdline>")};
    return std::string(nft_ctx_get_output_buffer(context_.get()));
}

}  // namespace vmrouter::firewall
