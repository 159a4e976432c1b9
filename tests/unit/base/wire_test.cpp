#include "src/base/wire.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <vector>

using namespace vmrouter;

TEST_CASE("A reader returns fields in network byte order and fails for good at the end") {
    const std::vector<std::uint8_t> bytes{0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07};
    Reader reader(bytes);
    CHECK(reader.u8() == 0x01);
    CHECK(reader.u16() == 0x0203);
    CHECK(reader.u32() == 0x04050607);
    CHECK(reader.ok());
    CHECK(reader.u8() == 0);
    CHECK_FALSE(reader.ok());
    reader.seek(0);
    CHECK(reader.u8() == 0);
    CHECK(reader.remaining() == 0);
}

TEST_CASE("A read that only half fits yields nothing") {
    const std::vector<std::uint8_t> bytes{0xff, 0xff, 0xff};
    Reader reader(bytes);
    CHECK(reader.u32() == 0);
    CHECK_FALSE(reader.ok());
    Reader other(bytes);
    CHECK(other.bytes(4).empty());
    CHECK_FALSE(other.ok());
}

TEST_CASE("A writer stops at the end of its buffer and patches only what it wrote") {
    std::array<std::uint8_t, 6> buffer{};
    Writer writer(buffer);
    writer.u16(0x0102);
    writer.u32(0x03040506);
    CHECK(writer.ok());
    CHECK(buffer == std::array<std::uint8_t, 6>{1, 2, 3, 4, 5, 6});
    writer.patch_u16(1, 0xaabb);
    CHECK(buffer == std::array<std::uint8_t, 6>{1, 0xaa, 0xbb, 4, 5, 6});
    writer.u8(7);
    CHECK_FALSE(writer.ok());
    writer.rewind(4);
    CHECK(writer.ok());
    writer.patch_u16(3, 0);
    CHECK_FALSE(writer.ok());
}
