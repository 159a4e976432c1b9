#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "conf/config.hpp"

namespace vmrouter::conf {

/// Where a value was written. A flag has its own spelling as the file ("--address") and no line; a default has nothing.
struct Place {
    std::string file;
    std::size_t line = 0;    ///< from 1; 0: none
    std::size_t column = 0;  ///< from 1, in characters
};

/// "vm.toml:12:9", "--address", "vm.toml" or ""
std::string to_string(const Place& place);

/// One thing wrong with the configuration, or worth a warning.
struct Diagnostic {
    std::string file;
    std::size_t line = 0;
    std::size_t column = 0;
    std::string what;  ///< names the key, the value and the limit
    std::string hint;  ///< what would be right; may be empty
};

/// "vm.toml:12:9: what", and on a second line "  hint: ...", as the user sees it.
std::string to_string(const Diagnostic& diagnostic);

/// Where each key was set, by its dotted name: "network.address", "dhcp.range", "dhcp.host[0].name". For whoever finds
/// out later that a value does not fit the machine.
class Places {
public:
    void set(std::string key, Place place) { places_.insert_or_assign(std::move(key), std::move(place)); }
    void erase(const std::string& key) { places_.erase(key); }
    /// The place of `key`, else of the nearest table around it that was written, else only the file.
    [[nodiscard]] Place of(std::string_view key) const;
    /// Whether the user wrote this key (in the file or as a flag).
    [[nodiscard]] bool contains(std::string_view key) const { return places_.find(key) != places_.end(); }

    std::string file;  ///< as given by the user; empty without one

private:
    std::map<std::string, Place, std::less<>> places_;
};

/// A flag's word about a key: {"network.address", "192.168.7.1/24", "--address"}. Values are written as in the file but
/// without quotes; lists are separated by commas.
struct Override {
    std::string key;
    std::string value;
    std::string flag;
};

/// A default of the contract that is off, because this version does not have the function yet.
struct Unavailable {
    std::string key;   ///< "control.sandbox"
    std::string what;  ///< "the sandbox"
};

struct Loaded {
    Config config;                     ///< to be used only when `errors` is empty
    std::vector<Diagnostic> errors;    ///< all of them, in file order; flags last
    std::vector<Diagnostic> warnings;  ///< likewise
    std::vector<Unavailable> unavailable;
    Places places;
};

/// Reads and checks a whole configuration; `file` only names it in messages. Overrides replace what the text says
/// before rules across keys are checked. An override of network.bridge clears network.interface, and the other way
/// round. Touches neither files nor the machine.
Loaded load_text(std::string_view text, std::string_view file, std::span<const Override> overrides = {});

/// As load_text; a file that cannot be read is one error.
Loaded load_file(const std::string& path, std::span<const Override> overrides = {});

/// Without a file: the defaults and the overrides, as for `--iface X`.
Loaded load_defaults(std::span<const Override> overrides);

}  // namespace vmrouter::conf
