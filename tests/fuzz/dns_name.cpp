// Names from the wire and from text: reading ends, what was read is written and read back the same, compressed or not.
#include <array>
#include <cstdint>
#include <string_view>

#include "dns/name.hpp"
#include "tests/fuzz/require.hpp"

using namespace vmrouter;
using namespace vmrouter::dns;

namespace {

void check_round_trips(const Name& name) {
    require(name.size() >= 1 && name.size() <= Name::max_size && name.labels() <= Name::max_labels);
    const auto text = Name::parse(to_string(name));
    require(text && text->identical(name));
    const auto wire = Name::from_wire(name.wire());
    require(wire && wire->identical(name));

    Name folded = name;
    folded.fold();
    require(folded == name && folded.hash() == name.hash() && name.is_under(name.parent()));

    const Suffixes suffixes(name);
    require(suffixes.labels() == name.labels() && suffixes.wire(suffixes.labels()).size() == 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const Bytes message(data, size);
    std::array<std::uint8_t, 4096> buffer;
    Writer writer(buffer);
    writer.zeros(12);  // a header
    Compressor names;
    std::array<Name, 8> read;
    std::size_t count = 0;
    for (std::size_t position = 0; position < size && count < read.size();) {
        const std::size_t before = position;
        if (!read[count].read(message, position)) {
            require(position == before && read[count].is_root());
            ++position;
            continue;
        }
        require(position > before && position <= size);
        check_round_trips(read[count]);
        names.write(writer, read[count++]);
    }
    require(writer.ok());
    std::size_t position = 12;
    for (std::size_t i = 0; i < count; ++i) {
        Name again;
        require(again.read(writer.written(), position) && again == read[i]);
    }

    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto parsed = Name::parse(text)) check_round_trips(*parsed);
    return 0;
}
