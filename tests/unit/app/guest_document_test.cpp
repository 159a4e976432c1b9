#include "src/guest_document.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace vmrouter;

namespace {

const dhcp::HardwareAddress guest{*MacAddress::parse("52:54:00:00:00:01")};

/// The last event of a guest whose message came to this, as doctor hears it.
nlohmann::json last_event(dhcp::MessageType message, dhcp::Silence silence) {
    dhcp::GuestHistory history;
    dhcp::Note note;
    note.verb = dhcp::to_string(message);
    note.client = guest;
    note.message = message;
    note.silence = silence;
    note.time = Time{std::chrono::seconds{1'800'000'000}};
    history.add(note);
    GuestSources sources;
    sources.history = &history;
    return guest_document("52:54:00:00:00:01", sources, Time{})["events"].at(0);
}

}  // namespace

TEST_CASE("A message to which the protocol has no reply is not one that got no answer") {
    for (const auto message : {dhcp::MessageType::Decline, dhcp::MessageType::Release}) {
        const auto event = last_event(message, dhcp::Silence::Done);
        CHECK(event["message"] == std::string(dhcp::to_string(message)));
        CHECK(event["silence"].is_null());
    }
    CHECK(last_event(dhcp::MessageType::Discover, dhcp::Silence::None)["silence"].is_null());
    CHECK(last_event(dhcp::MessageType::Release, dhcp::Silence::NotTheHolder)["silence"] ==
          "does not hold that address");
}
