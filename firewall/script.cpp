#include "firewall/script.hpp"

namespace vmrouter::firewall {

void Script::chain(const std::string& name, std::string_view purpose, const std::vector<std::string>& rules) {
    gap();
    comment(purpose);
    open("chain " + name);
    for (const auto& rule : rules) line(rule);
    close();
}

void Script::base_chain(const std::string& name, const std::string& hook, std::string_view purpose,
                        const std::vector<std::string>& rules) {
    gap();
    comment(purpose);
    open("chain " + name);
    line("type " + hook + "; policy accept;");
    for (const auto& rule : rules) line(rule);
    close();
}

void Script::set(const Set& set) {
    open(std::string(set.is_map() ? "map " : "set ") + std::string(set.name));
    line("type " + std::string(set.type));
    if (!set.options.empty()) line(std::string(set.options));
    if (!set.purpose.empty()) line("comment \"" + std::string(set.purpose) + "\"");
    if (!set.elements.empty()) line("elements = { " + join(set.elements) + " }");
    close();
}

std::string chain_of(const Reason& reason) {
    return (reason.answer == Reason::Answer::Drop ? "vm_drop_" : "vm_refuse_") + std::string(reason.name);
}

void add_reason_objects(Script& script, const Policy& policy, const std::vector<Reason>& reasons) {
    bool per_guest = false;
    for (const auto& reason : reasons) {
        script.counter("vm_" + std::string(reason.name));
        per_guest |= reason.log == Reason::Log::PerGuest;
    }
    if (per_guest && policy.log_blocked)
        script.set(
            {"vm_loud", "ether_addr", "flags dynamic; size 1024; timeout 1m;", "limits the log for each guest", {}});
}

void add_reason_chains(Script& script, const Policy& policy, const std::vector<Reason>& reasons) {
    for (const auto& reason : reasons) {
        std::vector<std::string> rules{"counter name vm_" + std::string(reason.name)};
        if (policy.log_blocked && reason.log != Reason::Log::No) {
            // The second limit is for guests that make up MAC addresses.
            const std::string limit = "limit rate 20/second burst 40 packets";
            rules.push_back((reason.log == Reason::Log::PerGuest
                                 ? "add @vm_loud { ether saddr " + limit + " } limit rate 200/second burst 400 packets"
                                 : limit) +
                            " log prefix \"vmrouter:" + std::string(reason.name) + "\" group " +
                            std::to_string(policy.log_group) + " snaplen 64 queue-threshold 16");
        }
        switch (reason.answer) {
            case Reason::Answer::Refuse:
                rules.emplace_back("goto vm_refuse");
                break;
            case Reason::Answer::RefuseProcess:
                rules.emplace_back("meta l4proto tcp reject with tcp reset");
                rules.emplace_back("reject with icmpx admin-prohibited");
                break;
            case Reason::Answer::Drop:
                rules.emplace_back("drop");
                break;
        }
        script.chain(chain_of(reason), reason.purpose, rules);
    }
}

}  // namespace vmrouter::firewall
