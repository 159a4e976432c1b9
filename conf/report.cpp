#include "conf/report.hpp"

#include <algorithm>
#include <tuple>

namespace vmrouter::conf {
namespace {

std::vector<Diagnostic> in_file_order(std::vector<Diagnostic> list) {
    const auto rank = [](const Diagnostic& item) {
        return std::tuple(item.file.starts_with("--"), item.line, item.column);
    };
    std::stable_sort(list.begin(), list.end(),
                     [&rank](const Diagnostic& a, const Diagnostic& b) { return rank(a) < rank(b); });
    return list;
}

}  // namespace

void Report::error(const Place& place, std::string what, std::string hint) {
    errors_.push_back({place.file, place.line, place.column, std::move(what), std::move(hint)});
}

void Report::warn(const Place& place, std::string what, std::string hint) {
    warnings_.push_back({place.file, place.line, place.column, std::move(what), std::move(hint)});
}

std::vector<Diagnostic> Report::errors() const {
    return in_file_order(errors_);
}

std::vector<Diagnostic> Report::warnings() const {
    return in_file_order(warnings_);
}

std::nullopt_t Field::refuse(const Value& value, std::string_view wanted, std::string hint) const {
    std::string what = in_list_ ? "has " : "is ";
    what += describe(value);
    what += in_list_ ? "; each must be " : "; it must be ";
    what += wanted;
    if (or_auto_) what += ", or \"auto\"";
    return fail(value, what, std::move(hint));
}

std::nullopt_t Field::fail(const Value& value, std::string_view what, std::string hint) const {
    report_.spoil(name_);
    report_.error(value.place, name_ + " " + std::string(what), std::move(hint));
    return std::nullopt;
}

Field Field::element() const {
    Field field = *this;
    field.in_list_ = true;
    field.or_auto_ = false;
    return field;
}

Field Field::or_auto() const {
    Field field = *this;
    field.or_auto_ = true;
    return field;
}

}  // namespace vmrouter::conf
