#include "src/commands/vendor.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

using namespace vmrouter;

TEST_CASE("The network cards of virtual machines are known without any file") {
    Vendors vendors(std::vector<std::string>{});
    CHECK(vendors.of(std::string("52:54:00:12:34:56")) == "QEMU/KVM");
    CHECK(vendors.of(std::string("aa:fc:00:00:00:01")) == "Firecracker");
    CHECK(vendors.of(std::string("dc:a6:32:00:00:01")) == "Raspberry Pi");
    CHECK(vendors.of(std::string("02:00:00:00:00:01")) == "local");
    CHECK(vendors.of(std::string("00:00:0c:00:00:01")) == "");
    CHECK(vendors.of(std::string("06-52:54:00:12:34:56")) == "");
    CHECK(vendors.of(std::string("")) == "");
}

TEST_CASE("Every list of assignments that Debian has is understood") {
    const std::uint32_t cisco = 0x00000c;
    CHECK(parse_vendors("00-00-0C   (hex)\t\tCisco Systems, Inc\r\n00000C     (base 16)\t\tCisco Systems, Inc\n")
              .at(cisco) == "Cisco Systems, Inc");  // ieee-data
    CHECK(parse_vendors("# a comment\n00:00:0C\tCisco\tCisco Systems, Inc\n").at(cisco) ==
          "Cisco Systems, Inc");                                                             // wireshark
    CHECK(parse_vendors("00000C Cisco Systems\n").at(cisco) == "Cisco Systems");             // nmap
    CHECK(parse_vendors("00000C\tCisco Systems, Inc\n").at(cisco) == "Cisco Systems, Inc");  // arp-scan
    CHECK(parse_vendors("OUI:00000C*\n ID_OUI_FROM_DATABASE=Cisco Systems, Inc\n").at(cisco) ==
          "Cisco Systems, Inc");  // udev
    // Longer assignments stand for a part of the prefix only.
    CHECK(parse_vendors("00:1B:C5:00:00:00/36\tShort\tLong\nOUI:8C1F64000*\n ID_OUI_FROM_DATABASE=x\n").empty());
    CHECK(parse_vendors("\n\nnonsense\n00\n00000C\n").empty());
}

TEST_CASE("The first list that is there is used, and a vendor's bytes stay what they are") {
    const auto path = std::filesystem::temp_directory_path() / ("vmrouter-oui-" + std::to_string(getpid()));
    std::ofstream(path) << "00-00-0C   (hex)\t\tCisco Systems, Inc\n";
    Vendors vendors({"/nonexistent", path});
    CHECK(vendors.of(std::string("00:00:0c:01:02:03")) == "Cisco Systems, Inc");
    CHECK(vendors.of(std::string("00:00:0d:01:02:03")) == "");
    std::filesystem::remove(path);
}
