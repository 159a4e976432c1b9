#include "src/commands/words.hpp"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace vmrouter;
using namespace std::chrono_literals;

TEST_CASE("Times have two units and sizes three digits") {
    CHECK(short_duration(0s) == "0s");
    CHECK(short_duration(-5s) == "0s");
    CHECK(short_duration(59s) == "59s");
    CHECK(short_duration(60s) == "1m");
    CHECK(short_duration(3432s) == "57m 12s");
    CHECK(short_duration(183845s) == "2d 3h");
    CHECK(short_duration(86401s) == "1d");
    CHECK(ago(Time{100s}, Time{112s}) == "12s ago");
    CHECK(ago(Time{100s}, Time{100s}) == "now");
    CHECK(ago(Time{100s}, Time{90s}) == "now");
    CHECK(short_bytes(0) == "0 B");
    CHECK(short_bytes(999) == "999 B");
    CHECK(short_bytes(1000) == "1.0 kB");
    CHECK(short_bytes(99'949) == "99.9 kB");
    CHECK(short_bytes(99'951) == "100 kB");
    CHECK(short_bytes(999'499) == "999 kB");
    CHECK(short_bytes(999'500) == "1.0 MB");
    CHECK(short_bytes(UINT64_MAX).ends_with(" PB"));
}

TEST_CASE("Documents of another version are read as far as they go") {
    const auto object = nlohmann::json::parse(R"({"text": "a", "number": 5, "null": null, "list": [1], "real": 1.5})");
    CHECK(text_of(object, "text") == "a");
    CHECK(text_of(object, "number") == "5");
    CHECK(text_of(object, "null") == "");
    CHECK(text_of(object, "missing") == "");
    CHECK(number_of(object, "text") == 0);
    CHECK(number_of(object, "number") == 5);
    CHECK(time_of(object, "number") == Time{5s});
    CHECK(!time_of(object, "null"));
    CHECK(list_of(object, "list").size() == 1);
    CHECK(list_of(object, "text").empty());
}
