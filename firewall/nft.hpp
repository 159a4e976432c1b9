#pragma once

#include <memory>
#include <string>

#include "src/base/result.hpp"

struct nft_ctx;

namespace vmrouter::firewall {

/// libnftables. One context for the life of the process, used from one thread: creating it late is dangerous, because
/// the library ends the process when it cannot open its netlink socket.
class Nft {
public:
    /// Fails with a cure when the kernel has no nf_tables or we lack CAP_NET_ADMIN (the library itself would exit).
    static Result<Nft> open();

    /// Runs `text` as one transaction: all of it or nothing. The error names line and column of the generated text.
    Result<void> run(const std::string& text);
    /// Whether the kernel would take `text`: it looks at all of it and forgets it again, unseen by anybody.
    Result<void> check(const std::string& text);
    /// The output of a listing command as JSON text ("list counters table inet x").
    Result<std::string> list(const std::string& command);
    /// The output of a listing command as nft's text, without counters and the elements of sets: equal texts are equal
    /// rules.
    Result<std::string> list_rules(const std::string& command);

private:
    struct Free {
        void operator()(nft_ctx* context) const;
    };
    explicit Nft(nft_ctx* context) : context_(context) {}
    Result<std::string> output(const std::string& command, unsigned int flags);

    std::unique_ptr<nft_ctx, Free> context_;
};

}  // namespace vmrouter::firewall
