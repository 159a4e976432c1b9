#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "src/base/terminal.hpp"

namespace vmrouter {

/// "tcp 192.168.1.50:22", with the name that the guest resolved to it, of an object with "protocol", "peer", "port" and
/// "name".
std::string destination_text(const nlohmann::json& object);

/// What an event says beside its time and kind: "web  A www.example.net: NOERROR, from the cache". Safe to show.
std::string event_text(const nlohmann::json& event);

/// An event of `monitor` as a line for people, without the newline: time, kind, guest, what happened.
std::string event_line(const nlohmann::json& event, const Terminal& terminal);

}  // namespace vmrouter
