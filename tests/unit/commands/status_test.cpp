#include "src/commands/status.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include "src/base/file.hpp"
#include "src/metrics.hpp"

using namespace vmrouter;
using nlohmann::json;
using namespace std::chrono_literals;

namespace {

constexpr Time now{1795346400s};

json sample() {
    const auto text = read_file(VMROUTER_TEST_DATA "/commands/status.json");
    REQUIRE(text);
    return json::parse(*text);
}

/// Compares with a golden file; VMROUTER_UPDATE_GOLDENS=1 writes it anew.
void check_golden(const std::string& name, const std::string& text) {
    const std::string path = std::string(VMROUTER_TEST_DATA "/commands/") + name;
    if (std::getenv("VMROUTER_UPDATE_GOLDENS") != nullptr) REQUIRE(replace_file(path, text));
    const auto golden = read_file(path);
    REQUIRE(golden);
    INFO("VMROUTER_UPDATE_GOLDENS=1 writes " << path << " anew; review the diff");
    CHECK(*golden == text);
}

}  // namespace

TEST_CASE("The status screen is the golden one") {
    check_golden("status.txt", status_screen(sample(), now, {}));
    check_golden("status_unhealthy.txt", [] {
        auto document = sample();
        document["health"][0]["ok"] = false;
        document["health"][0]["detail"] = "somebody deleted it";
        document["health"][4]["ok"] = false;
        document["dhcp"]["storage_ok"] = false;
        document["dhcp"]["storage_error"] = "No space left on device";
        document["others"][0]["passed"] = false;
        document["uplinks"] = json::array();
        return status_screen(document, now, {});
    }());
}

TEST_CASE("A closed segment is seen on the status screen") {
    auto document = sample();
    CHECK(status_screen(document, now, {}).find("BLOCKED  this host, ") != std::string::npos);
    document["internet"] = false;
    CHECK(status_screen(document, now, {}).find("BLOCKED  the internet (firewall.internet = false), this host, ") !=
          std::string::npos);
}

TEST_CASE("The status screen fits 100 columns, and whatever a document lacks is left out") {
    const auto text = status_screen(sample(), now, {true, false, 100});
    for (std::size_t at = 0; at < text.size();) {
        const auto end = text.find('\n', at);
        CHECK(end - at <= 100);
        at = end + 1;
    }
    CHECK(status_screen(json::object(), now, {}) != "");
    auto document = sample();
    const auto whole = sample();
    for (const auto& [key, value] : whole.items()) {
        document[key] = nullptr;
        CHECK(status_screen(document, now, {}) != "");
    }
}

TEST_CASE("Bytes of a guest reach neither the screen nor the metrics") {
    auto document = sample();
    document["guests"][0]["name"] = "a\x1b[31m\"}\n\xff";
    document["blocked"][0]["guest"] = "a\x1b[31m";
    CHECK(status_screen(document, now, {}).find('\x1b') == std::string::npos);
    const auto metrics = metrics_text(document);
    CHECK(metrics.find('\x1b') == std::string::npos);
    CHECK(metrics.find(R"(guest="a\\x1b[31m\"}\\x0a\\xff")") != std::string::npos);
}

TEST_CASE("The metrics are the golden ones") {
    check_golden("metrics.txt", metrics_text(sample()));
    CHECK(metrics_text(json::object()).find("vmrouter_info") != std::string::npos);
}
