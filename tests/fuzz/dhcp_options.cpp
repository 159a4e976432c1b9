// Any bytes as the three option areas of a message (the first byte says where to cut), and as text of configured
// options.

#include <algorithm>
#include <array>

#include "dhcp/message.hpp"
#include "dhcp/names.hpp"
#include "dhcp/option.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const Bytes input{data + 2, size - 2};
    const std::size_t first = std::min<std::size_t>(data[0], input.size());
    const std::size_t second = std::min<std::size_t>(data[1], input.size() - first);
    const std::array<Bytes, 3> areas{input.first(first), input.subspan(first, second), input.subspan(first + second)};
    Message message;
    message.op = Message::reply;
    message.options = Options::read(areas);

    std::size_t total = 0;
    for (std::size_t i = 0; i < message.options.size(); ++i) {
        const auto [code, value] = message.options[i];
        total += value.size();
        require(std::ranges::equal(*message.options.find(code), value));
        (void)suboption(value, 5);
        (void)encode_client_fqdn(value, "vm1", "vm.internal");
    }
    require(total <= size);
    (void)message.type();
    (void)message.terminates_strings();
    (void)legal_name(claimed_name(message));

    // Small packets, with and without overload: what is not left out comes back.
    for (const bool overload : {false, true}) {
        const auto written = serialize(message, Room{548, 300, overload});
        const auto again = parse(written.bytes);
        require(again.has_value());
        for (std::size_t i = 0; i < message.options.size(); ++i) {
            const auto [code, value] = message.options[i];
            const bool left_out = std::ranges::find(written.left_out, code) != written.left_out.end();
            const auto found = again->options.find(code);
            require(left_out ? !found : found && std::ranges::equal(*found, value));
        }
    }
    return 0;
}
