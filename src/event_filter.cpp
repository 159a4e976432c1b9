#include "src/event_filter.hpp"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "src/base/text.hpp"

namespace vmrouter {
namespace {

using nlohmann::json;

bool has_text(const json& document, const char* key, std::string_view wanted) {
    const auto found = document.find(key);
    return found != document.end() && found->is_string() &&
           equal_ignoring_case(found->get_ref<const std::string&>(), wanted);
}

std::string known_kinds() {
    std::string text;
    for (const auto* kind : event_kinds) text += (text.empty() ? "" : ", ") + std::string(kind);
    return text;
}

}  // namespace

bool is_guest(const json& document, std::string_view wanted) {
    if (has_text(document, "mac", wanted) || has_text(document, "address", wanted)) return true;
    const std::string_view label = wanted.substr(0, wanted.find('.'));
    return has_text(document, document.contains("guest") ? "guest" : "name",
                    label);  // a query's name is not the guest's
}

Result<EventFilter> EventFilter::from_request(const json& request) {
    EventFilter filter;
    if (const auto guest = request.find("guest"); guest != request.end() && !guest->is_null()) {
        if (!guest->is_string()) return Failure{Error{"\"guest\" is no text", {}, {}}};
        filter.guest_ = guest->get<std::string>();
    }
    const auto only = request.find("only");
    if (only == request.end() || only->is_null()) return filter;
    if (!only->is_array()) return Failure{Error{"\"only\" is no list", {}, {}}};
    for (const auto& one : *only) {
        std::string word = one.is_string() ? one.get<std::string>() : std::string{};
        if (word.size() > 1 && word.ends_with('s') && word != "dns" && word != "rules") word.pop_back();
        if (std::find(event_kinds.begin(), event_kinds.end(), word) == event_kinds.end())
            return Failure{
                Error{"there are no events of the kind '" + escape(word) + "'", {}, "there are: " + known_kinds()}};
        filter.only_.push_back(std::move(word));
    }
    return filter;
}

bool EventFilter::wants(std::string_view kind) const {
    return only_.empty() || std::find(only_.begin(), only_.end(), kind) != only_.end();
}

/// With a guest, only what is about a guest is.
bool EventFilter::admits(const json& event) const {
    const std::string kind = event.value("event", "");
    if (kind == "skipped") return wants(event.value("kind", ""));
    return wants(kind) && (guest_.empty() || is_guest(event, guest_));
}

}  // namespace vmrouter
