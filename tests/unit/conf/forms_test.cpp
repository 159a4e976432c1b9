#include "conf/forms.hpp"

#include <catch2/catch.hpp>

using namespace vmrouter;
using namespace vmrouter::conf;

TEST_CASE("What the small languages parse prints as the same text") {
    for (const auto* text : {"192.168.0.1:53", "[2620:fe::fe]:853"})
        CHECK(to_string(*parse_endpoint(text, 53)) == text);
    CHECK(to_string(*parse_endpoint("9.9.9.9", 53)) == "9.9.9.9:53");
    CHECK(to_string(*parse_endpoint("2620:fe::fe", 53)) == "[2620:fe::fe]:53");
    CHECK(to_string(*parse_endpoint("[2620:fe::fe]", 53)) == "[2620:fe::fe]:53");
    for (const auto* text : {"192.168.0.10", "192.168.0.10:tcp/445", "10.1.0.0/16:udp/53", "10.1.0.0/16:tcp",
                             "192.168.0.10:tcp/8000-8080"})
        CHECK(to_string(*parse_exception(text)) == text);
    for (const auto* text : {"tcp/2222", "udp/0.0.0.0:2222"}) CHECK(to_string(*parse_listen(text)) == text);
    CHECK(to_string(*parse_port_spec("udp/65535")) == "udp/65535");
    CHECK(to_string(*parse_domain_pattern("*.Debian.org.")) == "*.debian.org");
    CHECK(to_string(*parse_domain_pattern("debian.org")) == "debian.org");
}

TEST_CASE("A default port of zero demands one") {
    CHECK_FALSE(parse_endpoint("127.0.0.1", 0));
    CHECK_FALSE(parse_endpoint("[::1]", 0));
    CHECK_FALSE(parse_endpoint("::1", 0));
    CHECK(parse_endpoint("[::1]:9473", 0));
}

TEST_CASE("Domains have labels of 1 to 63 bytes and 253 in all") {
    const std::string label(63, 'a');
    CHECK(is_domain(label));
    CHECK_FALSE(is_domain(label + "a"));
    const std::string long_name = label + '.' + label + '.' + label + '.' + std::string(61, 'a');
    CHECK(long_name.size() == 253);
    CHECK(is_domain(long_name));
    CHECK_FALSE(is_domain(long_name + "a"));
    CHECK_FALSE(is_domain(""));
    CHECK_FALSE(parse_domain("*.a"));
    CHECK_FALSE(parse_domain_pattern("*"));
    CHECK_FALSE(parse_domain_pattern("*."));
    CHECK_FALSE(parse_domain_pattern("a.*.b"));
    CHECK_FALSE(
        parse_domain_pattern("b\xc3\xbc"
                             "cher.example"));
}
