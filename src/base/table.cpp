#include "src/base/table.hpp"

#include <algorithm>
#include <cassert>
#include <ostream>

namespace vmrouter {
namespace {

constexpr std::size_t gap = 2;
constexpr std::size_t narrowest = 20;  // a last column that has less than this is not wrapped

using Row = std::vector<Table::Cell>;

std::vector<std::size_t> widths(const std::vector<Row>& rows) {
    std::vector<std::size_t> found(rows.front().size());
    for (const Row& row : rows)
        for (std::size_t i = 0; i < row.size(); ++i) found[i] = std::max(found[i], row[i].text.size());
    return found;
}

/// The lines of the last cell, each painted by itself, so that no colour runs into the next row.
std::string last_cell(const Table::Cell& cell, const Terminal& terminal, std::size_t begin) {
    const bool is_wrapped = terminal.width >= begin + narrowest;
    const std::string text = is_wrapped ? wrap(cell.text, terminal.width - begin) : cell.text;
    std::string out;
    for (std::size_t at = 0; at <= text.size();) {
        const auto end = std::min(text.find('\n', at), text.size());
        if (at > 0) out += '\n' + std::string(begin, ' ');
        out += terminal.paint(cell.style, std::string_view(text).substr(at, end - at));
        at = end + 1;
    }
    return out;
}

}  // namespace

void Table::add(std::vector<Cell> row) {
    assert(row.size() <= columns_.size());
    row.resize(columns_.size(), Cell(""));
    for (Cell& cell : row) cell.text = cell.text.empty() ? "-" : printable(cell.text);
    rows_.push_back(std::move(row));
}

std::string Table::text(const Terminal& terminal, std::size_t indent) const {
    std::vector<Row> rows(1);
    for (const Column& column : columns_) rows.front().emplace_back(column.title, Style::Title);
    rows.insert(rows.end(), rows_.begin(), rows_.end());

    const auto wide = widths(rows);
    std::string out;
    for (const Row& row : rows) {
        std::size_t begin = indent;
        out.append(indent, ' ');
        for (std::size_t i = 0; i + 1 < row.size(); ++i) {
            const std::size_t missing = wide[i] - row[i].text.size();
            const bool is_right = columns_[i].align == Align::Right;
            if (is_right) out.append(missing, ' ');
            out += terminal.paint(row[i].style, row[i].text);
            out.append(gap + (is_right ? 0 : missing), ' ');
            begin += wide[i] + gap;
        }
        if (columns_.back().align == Align::Right) {
            out.append(wide.back() - row.back().text.size(), ' ');
            out += terminal.paint(row.back().style, row.back().text);
        } else {
            out += last_cell(row.back(), terminal, begin);
        }
        out += '\n';
    }
    return out;
}

void Table::print(std::ostream& out, std::size_t indent) const {
    out << text(Terminal::of(out), indent);
}

}  // namespace vmrouter
