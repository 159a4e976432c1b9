#include "src/base/checksum.hpp"

#include <catch2/catch.hpp>
#include <string>
#include <vector>

using namespace vmrouter;

TEST_CASE("CRC-32C gives the values of RFC 3720") {
    CHECK(crc32c("") == 0);
    CHECK(crc32c("123456789") == 0xe3069283);
    CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
    CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
}

TEST_CASE("The Internet checksum gives the value of RFC 1071 and continues from a seed") {
    const std::vector<std::uint8_t> example{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
    CHECK(internet_checksum(example) == 0x220d);
    CHECK(internet_checksum(example, 0x220d) == 0);
    CHECK(internet_checksum({}) == 0xffff);
    CHECK(internet_checksum({}, 0x1234'0001) == 0xedca);
}

TEST_CASE("The Internet checksum is that of two bytes after the other, for any length and place in memory") {
    std::vector<std::uint8_t> buffer;
    for (std::uint32_t i = 0; i < 1600; ++i) buffer.push_back(static_cast<std::uint8_t>(i * i * 31 + i / 7));
    buffer.resize(1680);  // the rest is zero
    buffer.resize(1760, 0xff);
    for (const std::size_t from : {0U, 1U, 2U, 3U, 1590U, 1640U})
        for (const std::size_t size : {0U, 1U, 2U, 3U, 4U, 5U, 6U, 7U, 8U, 9U, 20U, 63U, 64U, 65U, 120U}) {
            const Bytes bytes = Bytes{buffer}.subspan(from, size);
            std::uint32_t sum = 0x1ffff;
            for (std::size_t i = 0; i < size; ++i) sum += i % 2 == 0 ? bytes[i] * 256U : bytes[i];
            while (sum > 0xffff) sum = sum % 65536 + sum / 65536;
            INFO(from << " " << size);
            CHECK(internet_checksum(bytes, 0x1ffff) == static_cast<std::uint16_t>(~sum));
        }
}
