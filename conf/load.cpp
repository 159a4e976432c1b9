#include "conf/load.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "conf/availability.hpp"
#include "conf/keys.hpp"
#include "conf/report.hpp"
#include "conf/toml.hpp"
#include "conf/validate.hpp"
#include "conf/value.hpp"
#include "src/base/file.hpp"
#include "src/base/text.hpp"

namespace vmrouter::conf {
namespace {

constexpr std::size_t largest_file = std::size_t{4} << 20;

std::string dotted(std::string_view section, std::string_view key) {
    return section.empty() ? std::string(key) : std::string(section) + '.' + std::string(key);
}

/// Names of what may stand directly below `section` ("" is the file): its keys, and tables of its own.
std::vector<std::string_view> names_below(std::string_view section) {
    std::vector<std::string_view> names;
    for (const SectionText& text : sections()) {
        if (text.name == section)
            for (const KeyText& key : text.keys) names.push_back(key.name);
        const auto dot = text.name.find('.');
        const std::string_view parent = dot == std::string_view::npos ? "" : text.name.substr(0, dot);
        if (parent == section) names.push_back(dot == std::string_view::npos ? text.name : text.name.substr(dot + 1));
    }
    return names;
}

/// Where a name that is unknown here would be right: "did you mean 'network.address'?"
std::string suggestion(std::string_view section, const std::string& key) {
    const auto names = names_below(section);
    const std::size_t distance = key.size() <= 3 ? 1 : 2;  // with two edits almost any three letters are any others
    if (const auto near = nearest(key, names, distance)) return "did you mean '" + dotted(section, *near) + "'?";
    for (const SectionText& text : sections())
        for (const KeyText& known : text.keys)
            if (known.name == key)
                return "'" + key + "' belongs below " + (text.repeated ? "[[" : "[") + std::string(text.name) +
                       (text.repeated ? "]]" : "]");
    return {};
}

/// Walks the values of a file or of flags, and fills in configuration, places and report.
class Reader {
public:
    Reader(Config& config, Places& places, Report& report) : config_(config), places_(places), report_(report) {}

    void read_file(const Table& root) {
        for (const Entry& entry : root) {
            if (entry.key == "usermode")
                read_elements("usermode", entry, usermode_keys(), config_.usermode);
            else if (!keys_of(entry.key).empty())
                read_section(entry);
            else
                unknown("", entry);
        }
    }

    void read_override(const Override& override) {
        const auto dot = override.key.find('.');
        const std::string_view key = std::string_view(override.key).substr(dot + 1);
        const Place place{override.flag, 0, 0};
        for (const auto& known : keys_of(std::string_view(override.key).substr(0, dot))) {
            if (known.text.name != key) continue;
            // A flag names the segment anew; what the file says about the other kind does not contradict it.
            if (override.key == "network.bridge") forget(config_.network.interface, "network.interface");
            if (override.key == "network.interface") forget(config_.network.bridge, "network.bridge");
            read(override.key, override.key, value_from_flag(override.value, known.text.shape, place), known, config_);
            return;
        }
        report_.error(place, "there is no key '" + escape(override.key, 80) + "' that a flag could set");
    }

private:
    void read_section(const Entry& section) {
        places_.set(section.key, section.place);
        const auto* table = section.value.table();
        if (!table) {
            report_.error(section.value.place, section.key + " is " + describe(section.value) + "; it must be a table",
                          "write [" + section.key + "] once");
            return;
        }
        for (const Entry& entry : *table) {
            const std::string name = dotted(section.key, entry.key);
            if (name == "firewall.forward")
                read_elements(name, entry, forward_keys(), config_.firewall.forward);
            else if (name == "dhcp.host")
                read_elements(name, entry, dhcp_host_keys(), config_.dhcp.host);
            else if (name == "dns.route")
                read_elements(name, entry, dns_route_keys(), config_.dns.route);
            else if (!read_known(name, name, entry, keys_of(section.key), config_))
                unknown(section.key, entry);
        }
    }

    /// An array of tables; a single [table] can only be one whose second bracket was forgotten.
    template <class Target>
    void read_elements(const std::string& name, const Entry& entry, std::span<const Key<Target>> keys,
                       std::vector<Target>& targets) {
        places_.set(name, entry.place);
        const auto* list = entry.value.list();
        const bool is_right = list && std::all_of(list->begin(), list->end(), [](const Value& v) { return v.table(); });
        if (!is_right) {
            report_.spoil(name);
            report_.error(entry.place, name + " is " + describe(entry.value) + "; it must be a list of tables",
                          "write [[" + name + "]]");
            return;
        }
        for (const Value& element : *list) {
            const std::string indexed = name + '[' + std::to_string(targets.size()) + ']';
            places_.set(indexed, element.place);
            targets.push_back(read_element(name, indexed, element, keys));
        }
    }

    template <class Target>
    Target read_element(const std::string& name, const std::string& indexed, const Value& element,
                        std::span<const Key<Target>> keys) {
        Target target;
        for (const Entry& entry : *element.table())
            if (!read_known(dotted(name, entry.key), dotted(indexed, entry.key), entry, keys, target))
                unknown(name, entry);
        for (const auto& key : keys)
            if (key.text.fallback == "required" && !places_.contains(dotted(indexed, key.text.name)))
                report_.error(element.place, "[[" + name + "]] has no '" + std::string(key.text.name) + "'",
                              "add " + std::string(key.text.name) + " = " + std::string(key.text.form));
        return target;
    }

    /// False when `entry` is none of `keys`. `name` stands in messages, `indexed` tells elements of a list apart.
    template <class Target>
    bool read_known(const std::string& name, const std::string& indexed, const Entry& entry,
                    std::span<const Key<Target>> keys, Target& target) {
        for (const auto& key : keys) {
            if (key.text.name != entry.key) continue;
            read(name, indexed, entry.value, key, target);
            return true;
        }
        return false;
    }

    template <class Target>
    void read(const std::string& name, const std::string& indexed, const Value& value, const Key<Target>& key,
              Target& target) {
        places_.set(indexed, value.place);
        if (const auto* list = value.list())
            for (std::size_t i = 0; i < list->size(); ++i)
                places_.set(indexed + '[' + std::to_string(i) + ']', (*list)[i].place);
        key.read(value, Field(name, report_), target);
    }

    void unknown(std::string_view section, const Entry& entry) {
        const std::string key = escape(entry.key, 80);
        const std::string kind = entry.value.table() ? "table" : "key";
        report_.error(entry.place, "unknown " + kind + " '" + dotted(section, key) + "'",
                      suggestion(section, entry.key));
    }

    void forget(std::optional<std::string>& name, const std::string& key) {
        name.reset();
        places_.erase(key);
    }

    Config& config_;
    Places& places_;
    Report& report_;
};

/// Flags, rules across keys and what is not there yet, after the file (if any) was read.
Loaded finish(Loaded loaded, Report& report, std::span<const Override> overrides) {
    Reader reader(loaded.config, loaded.places, report);
    for (const Override& override : overrides) reader.read_override(override);
    validate(loaded.config, loaded.places, report);
    loaded.unavailable = apply_availability(unavailable(), loaded.config, loaded.places, report);
    loaded.errors = report.errors();
    loaded.warnings = report.warnings();
    return loaded;
}

}  // namespace

std::string to_string(const Place& place) {
    if (place.line == 0) return place.file;
    return place.file + ':' + std::to_string(place.line) + ':' + std::to_string(place.column);
}

std::string to_string(const Diagnostic& diagnostic) {
    return to_string(
        Error{diagnostic.what, to_string(Place{diagnostic.file, diagnostic.line, diagnostic.column}), diagnostic.hint});
}

Place Places::of(std::string_view key) const {
    while (!key.empty()) {
        const auto found = places_.find(key);
        if (found != places_.end()) return found->second;
        const auto end = key.find_last_of(".[");
        key = end == std::string_view::npos ? std::string_view{} : key.substr(0, end);
    }
    return {file, 0, 0};
}

Loaded load_text(std::string_view text, std::string_view file, std::span<const Override> overrides) {
    Loaded loaded;
    loaded.places.file = file;
    const auto root = parse_toml(text, file);
    if (!root) {
        loaded.errors.push_back(root.error());
        return loaded;
    }
    Report report;
    Reader(loaded.config, loaded.places, report).read_file(*root->table());
    return finish(std::move(loaded), report, overrides);
}

Loaded load_file(const std::string& path, std::span<const Override> overrides) {
    const auto text = read_file(path, largest_file);
    if (text) return load_text(*text, path, overrides);
    Loaded loaded;
    loaded.places.file = path;
    loaded.errors.push_back({path, 0, 0, text.error().what, text.error().hint});
    return loaded;
}

Loaded load_defaults(std::span<const Override> overrides) {
    Report report;
    return finish({}, report, overrides);
}

}  // namespace vmrouter::conf
