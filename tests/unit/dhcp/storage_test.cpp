#include "dhcp/storage.hpp"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "dhcp/journal.hpp"
#include "dhcp/lease_file.hpp"
#include "src/base/file.hpp"
#include "tests/unit/dhcp/io_support.hpp"

using namespace vmrouter;
using namespace vmrouter::dhcp;
using namespace vmrouter::dhcp::test;

namespace {

Lease lease(std::uint8_t last, std::uint8_t client, Seconds expires = Seconds{1795346423}) {
    Lease result;
    result.address = Ipv4(192, 168, 100, last);
    result.hardware = HardwareAddress(MacAddress{{0x52, 0x54, 0, 0, 0, client}});
    result.expires = Time{expires};
    result.supplied_missing = true;
    return result;
}

/// "23:1 24:2": last byte of the address, and of the client.
std::string summary(const std::vector<Lease>& leases) {
    std::string text;
    for (const auto& one : leases)
        text += (text.empty() ? "" : " ") + std::to_string(one.address.value & 0xff) + ":" +
                std::to_string(one.hardware.bytes[5]);
    return text;
}

struct Files : TemporaryFolder {
    Paths paths = Paths::beside(path + "/leases", "");

    void journal(const std::string& text) const { REQUIRE(replace_file(paths.journal, text)); }
    void file(const std::string& text) const { REQUIRE(replace_file(paths.leases, text)); }
    /// The leases file was written so much later than the journal.
    void age(Seconds later) const {
        const timespec journal_times[2] = {{1700000000, 0}, {1700000000, 0}};
        const timespec file_times[2] = {{1700000000 + later.count(), 0}, {1700000000 + later.count(), 0}};
        utimensat(AT_FDCWD, paths.journal.c_str(), journal_times, 0);
        utimensat(AT_FDCWD, paths.leases.c_str(), file_times, 0);
    }
    [[nodiscard]] std::string loaded() const { return summary(load_leases(paths)); }
};

}  // namespace

TEST_CASE("Without any file there are no leases and nothing is complained about") {
    const Files files;
    CHECK(files.loaded().empty());
    CHECK_FALSE(std::filesystem::exists(files.paths.bad));
}

TEST_CASE("A journal is replayed and the last word on an address counts") {
    const Files files;
    files.journal(journal_header() + journal_line(lease(23, 1)) + journal_line(lease(24, 2)) +
                  journal_line(lease(25, 3)) + journal_line(lease(23, 1, Seconds{1795350000})) +
                  journal_removal(Ipv4(192, 168, 100, 24)) + journal_line(lease(25, 9)));
    CHECK(files.loaded() == "23:1 25:9");
    CHECK(load_leases(files.paths)[0].expires == Time{Seconds{1795350000}});
}

TEST_CASE("A complete journal decides and an older leases file adds nothing") {
    const Files files;
    files.journal(journal_header() + journal_line(lease(23, 1)));
    files.file(lease_line(lease(24, 2)) + lease_line(lease(23, 5)));
    files.age(Seconds{0});
    CHECK(files.loaded() == "23:1");
}

TEST_CASE("A lease that a damaged journal line cost comes back from the leases file") {
    const Files files;
    std::string damaged = journal_line(lease(24, 2));
    damaged[5] = 'x';
    files.journal(journal_header() + journal_line(lease(23, 1)) + damaged + journal_removal(Ipv4(192, 168, 100, 25)));
    files.file(lease_line(lease(25, 3)) + lease_line(lease(24, 2)) + lease_line(lease(23, 1)));
    files.age(Seconds{0});
    CHECK(files.loaded() == "23:1 24:2");
    CHECK(read_file(files.paths.bad)->find(damaged) != std::string::npos);
    CHECK(read_file(files.paths.bad)->find("leases.journal:3: the check value is wrong") != std::string::npos);
}

TEST_CASE("A leases file that another program wrote later decides about its addresses and takes none away") {
    const Files files;
    files.journal(journal_header() + journal_line(lease(23, 1)) + journal_line(lease(24, 2)) +
                  journal_line(lease(26, 4, Seconds{1795999999})) + journal_removal(Ipv4(192, 168, 100, 25)));
    files.file(lease_line(lease(25, 7)) + lease_line(lease(24, 8)) + lease_line(lease(26, 4)));
    files.age(Seconds{60});
    const auto leases = load_leases(files.paths);
    CHECK(summary(leases) == "23:1 26:4 24:8 25:7");
    CHECK(leases[1].expires == Time{Seconds{1795999999}});  // what was promised is not shortened
}

TEST_CASE("An empty leases file that a power cut left takes nothing away") {
    const Files files;
    files.journal(journal_header() + journal_line(lease(23, 1)));
    files.file("");
    files.age(Seconds{60});
    CHECK(files.loaded() == "23:1");
}

TEST_CASE("A torn end of the journal is kept aside and costs nothing else") {
    const Files files;
    const std::string whole = journal_header() + journal_line(lease(23, 1)) + journal_line(lease(24, 2));
    files.journal(whole.substr(0, whole.size() - 5));
    CHECK(files.loaded() == "23:1");
    CHECK(read_file(files.paths.bad)->find("+ 192.168.100.24") != std::string::npos);
    struct stat status {};
    REQUIRE(stat(files.paths.bad.c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0600);
}

TEST_CASE("A file that cannot be read is moved aside and the other one decides") {
    const Files files;
    files.file(lease_line(lease(23, 1)));
    REQUIRE(replace_file(files / "elsewhere", journal_header() + journal_line(lease(24, 2))));
    std::filesystem::create_symlink(files / "elsewhere", files.paths.journal);
    CHECK(files.loaded() == "23:1");
    CHECK(std::filesystem::is_symlink(files.paths.journal + ".unreadable"));
}

TEST_CASE("Bad lines are not written through a link") {
    const Files files;
    REQUIRE(replace_file(files / "precious", "precious\n"));
    std::filesystem::create_symlink(files / "precious", files.paths.bad);
    files.file("nonsense\n");
    CHECK(files.loaded().empty());
    CHECK(*read_file(files / "precious") == "precious\n");
}
