// One guest: what the instance says of it, where the bridge has learnt it, whether it answers.

#include <sys/socket.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "src/commands/doctor_facts.hpp"
#include "src/commands/doctor_look.hpp"
#include "src/commands/verify_frames.hpp"
#include "src/control_client.hpp"

namespace vmrouter::diagnosis {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::milliseconds;

/// The port behind which the bridge has learnt a MAC, from /sys: entries of 16 bytes.
std::string port_of(const std::string& bridge, const MacAddress& mac) {
    const auto table = read_file("/sys/class/net/" + bridge + "/brforward");
    if (!table) return {};
    for (std::size_t at = 0; at + 16 <= table->size(); at += 16) {
        if (std::memcmp(table->data() + at, mac.bytes.data(), 6) != 0) continue;
        const int number = static_cast<unsigned char>((*table)[at + 6]) | static_cast<unsigned char>((*table)[at + 12])
                                                                              << 8;
        std::error_code ignored;
        for (const auto& entry : fs::directory_iterator("/sys/class/net/" + bridge + "/brif", ignored)) {
            const auto text = read_file(entry.path().string() + "/port_no", 64);
            if (text && std::strtol(text->c_str(), nullptr, 16) == number) return entry.path().filename().string();
        }
    }
    return {};
}

void ask_for(const Facts& facts, GuestFacts& guest) {
    const auto socket = segment_socket(facts);
    const auto* segment = facts.host.find(facts.segment);
    if (!socket || !guest.address || !facts.address || !segment->mac) return;
    const auto frame = proof::arp_frame(*segment->mac, MacAddress::broadcast(),
                                        {1, *segment->mac, facts.address->address, {}, *guest.address}, 0);
    guest.arp = false;
    for (int tries = 0; tries < 2 && !*guest.arp; ++tries) {
        [[maybe_unused]] const auto sent = send(socket.get(), frame.data(), frame.size(), 0);
        listen(socket.get(), milliseconds{400}, [&](Bytes bytes) {
            const auto arp = bytes.size() > 14 ? proof::parse_arp(bytes.subspan(14)) : std::nullopt;
            if (!arp || arp->operation != 2 || arp->sender != *guest.address) return false;
            guest.arp = true;
            guest.arp_mac = arp->sender_mac;
            return true;
        });
    }
}

void take_answer(GuestFacts& guest, const json& answer) {
    const auto text = [](const json& object, const char* key) {
        const auto found = object.find(key);
        return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
    };
    if (const auto mac = MacAddress::parse(text(answer, "mac"))) guest.mac = mac;
    if (const auto address = Ipv4::parse(text(answer, "address"))) guest.address = address;
    guest.lease_state = text(answer, "state");
    guest.lease_over = answer.value("expired", false);
    guest.port = text(answer, "port");
    guest.forged = answer.value("forged", std::uint64_t{0});
    guest.queries = answer.value("queries", std::uint64_t{0});
    guest.dns_known = answer.contains("queries");
    for (const auto& one : answer.value("blocked", json::array())) guest.blocked.push_back(one.get<std::string>());
    for (const auto& one : answer.value("events", json::array()))
        guest.events.push_back({text(one, "message"), text(one, "verb"), text(one, "silence"), text(one, "detail"),
                                one.value("count", std::uint64_t{1})});
}

}  // namespace

GuestFacts gather_guest(const std::string& name, const Facts& facts, const Folders& folders) {
    GuestFacts guest;
    guest.asked = name;
    guest.mac = MacAddress::parse(name);
    guest.address = Ipv4::parse(name);
    if (facts.running) {
        auto client = ControlClient::connect(folders.run + "/" + facts.segment + ".sock");
        if (client) {
            client->limit_wait(patience_with_instance);
            if (const auto answer = client->request({{"command", "guest"}, {"guest", name}}))
                take_answer(guest, *answer);
        }
    }
    if (guest.mac)
        if (auto port = port_of(facts.segment, *guest.mac); !port.empty()) guest.port = std::move(port);
    for (const auto& link : facts.host.links)
        if (link.kind == "tun" && link.master == 0) guest.free_taps.push_back(link.name);
    ask_for(facts, guest);
    return guest;
}

}  // namespace vmrouter::diagnosis
