#include "src/base/checksum.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace vmrouter;

TEST_CASE("CRC-32C gives the values of RFC 3720") {
    CHECK(crc32c("") == 0);
    CHECK(crc32c("123456789") == 0xe3069283);
    CHECK(crc32c(std::string(32, '\0')) == 0x8a9136aa);
    CHECK(crc32c(std::string(32, '\xff')) == 0x62a8ab43);
}
