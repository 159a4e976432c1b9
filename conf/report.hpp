#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "conf/load.hpp"
#include "conf/value.hpp"

namespace vmrouter::conf {

/// Collects what is wrong while reading goes on, so that a user sees all of it at once.
class Report {
public:
    void error(const Place& place, std::string what, std::string hint = {});
    void warn(const Place& place, std::string what, std::string hint = {});

    /// Remembers that this key has no usable value, so that rules across keys do not complain about its consequences.
    void spoil(std::string key) { spoiled_.insert(std::move(key)); }
    [[nodiscard]] bool is_spoiled(std::string_view key) const { return spoiled_.find(key) != spoiled_.end(); }

    /// In file order, flags last.
    [[nodiscard]] std::vector<Diagnostic> errors() const;
    [[nodiscard]] std::vector<Diagnostic> warnings() const;

private:
    std::vector<Diagnostic> errors_;
    std::vector<Diagnostic> warnings_;
    std::set<std::string, std::less<>> spoiled_;
};

/// One key while it is read: knows its name for messages. Readers return the `std::nullopt` that refuse and fail give.
class Field {
public:
    Field(std::string name, Report& report) : name_(std::move(name)), report_(report) {}

    /// "network.mtu is 100; it must be WANTED"
    std::nullopt_t refuse(const Value& value, std::string_view wanted, std::string hint = {}) const;
    /// "network.address WHAT", in the key's own words.
    std::nullopt_t fail(const Value& value, std::string_view what, std::string hint = {}) const;

    /// The same key seen from inside its list: "firewall.block has ...; each must be ...".
    [[nodiscard]] Field element() const;
    /// The same key, which also takes "auto".
    [[nodiscard]] Field or_auto() const;

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] Report& report() const { return report_; }

private:
    std::string name_;
    Report& report_;
    bool in_list_ = false;
    bool or_auto_ = false;
};

}  // namespace vmrouter::conf
