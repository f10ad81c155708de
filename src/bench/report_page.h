// What every report has in common: style sheets and script. Nothing is loaded from anywhere.
#pragma once

#include <string_view>

namespace lowbit {

// In the order in which they stand in a page.
inline constexpr std::string_view kColours = R"css(
:root{color-scheme:light dark;--bg:#f7f6f3;--panel:#fff;--text:#1d1c1a;--soft:#62605b;--line:#dedbd4;
--a:#1f6fd0;--b:#c0501a;--mute:#8f8c85;--bad:#b3261e;--warn:#8a5a00}
@media (prefers-color-scheme:dark){:root{--bg:#151514;--panel:#1f1f1d;--text:#eceae5;--soft:#aaa79f;
--line:#3a3935;--a:#6aaefc;--b:#f2965c;--mute:#85827b;--bad:#ff8a80;--warn:#e3b341}}
:root[data-theme=light]{color-scheme:light;--bg:#f7f6f3;--panel:#fff;--text:#1d1c1a;--soft:#62605b;
--line:#dedbd4;--a:#1f6fd0;--b:#c0501a;--mute:#8f8c85;--bad:#b3261e;--warn:#8a5a00}
:root[data-theme=dark]{color-scheme:dark;--bg:#151514;--panel:#1f1f1d;--text:#eceae5;--soft:#aaa79f;
--line:#3a3935;--a:#6aaefc;--b:#f2965c;--mute:#85827b;--bad:#ff8a80;--warn:#e3b341}
)css";
inline constexpr std::string_view kPageStyle = R"css(*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--text);font:15px/1.5 system-ui,sans-serif}
main{max-width:1180px;margin:0 auto;padding:20px 16px 60px}
header{display:flex;justify-content:space-between;align-items:baseline;gap:12px}
h1{font-size:1.5rem;margin:.2em 0}h2{font-size:1.2rem;margin:2em 0 .3em;overflow-wrap:anywhere}
h3{font-size:1rem;margin:0 0 .2em}
p,li{max-width:75ch;overflow-wrap:anywhere}.soft{color:var(--soft);font-size:.88rem}
.panel{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:14px 16px;
margin:14px 0;min-width:0}
.pick{border-left:4px solid var(--a)}.pick b{font-size:1.15rem}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:14px}
.plots .panel{margin:0}svg{width:100%;height:auto;display:block}
)css";
inline constexpr std::string_view kPlotStyle =
    R"css(svg text{fill:var(--text);font:12px system-ui,sans-serif}svg .tick{fill:var(--soft);font-size:11px}
svg .axis{fill:var(--soft)}svg .grid{stroke:var(--line)}
svg .front,svg .bar{fill:var(--a)}svg .other{fill:var(--mute)}svg .second{fill:var(--b)}
svg .whisker{stroke:var(--text);stroke-width:1.5}svg .faint{stroke:var(--mute);stroke-width:1}
svg .also{stroke:var(--b);stroke-width:3}svg polyline{fill:none}
svg .edge{stroke:var(--a);stroke-width:1.5}svg .roof{stroke:var(--text);stroke-width:1.5}
svg .roof2{stroke:var(--mute);stroke-width:1.2;stroke-dasharray:5 4}
svg .part0{fill:var(--a)}svg .part1{fill:var(--b)}svg .part2{fill:var(--a);opacity:.4}
svg .part3{fill:var(--mute)}svg .peak{fill:var(--text)}
svg .process{stroke:var(--text);stroke-width:1.2;stroke-dasharray:5 4}
svg .thin{stroke:var(--mute);stroke-width:1.5}svg .thick{stroke:var(--a);stroke-width:6;opacity:.45}
)css";
inline constexpr std::string_view kTableStyle =
    R"css(.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;
font-size:.88rem}
th,td{padding:5px 10px;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--panel)}
th button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer;
font-weight:600}
th[aria-sort=ascending] button::after{content:" ▲"}
th[aria-sort=descending] button::after{content:" ▼"}
td small{color:var(--soft)}.fail{color:var(--bad)}.unstable{color:var(--warn)}
.text td{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}
.text td:first-child{white-space:nowrap}
summary{cursor:pointer;font-weight:600}
#theme{font:inherit;font-size:.85rem;color:var(--text);background:var(--panel);
border:1px solid var(--line);border-radius:6px;padding:4px 10px;cursor:pointer}
@media (max-width:520px){main{padding:12px 8px 40px}.panel{padding:10px 8px}
svg text,svg .axis{font-size:13.5px}svg .tick{font-size:12.5px}}
@media print{#theme{display:none}}
)css";

inline constexpr std::string_view kReportScript = R"js(
document.getElementById('theme').onclick = () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark'
                                  : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
};
for (const table of document.querySelectorAll('table.sortable')) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector('button').onclick = () => {
    const down = head.getAttribute('aria-sort') === 'ascending';
    heads.forEach(other => other.removeAttribute('aria-sort'));
    head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
    const value = row => {
      const text = row.cells[column].dataset.v;
      return column === 0 ? text : text === '' ? Infinity : Number(text);
    };
    const sign = down ? -1 : 1;
    const rows = [...table.tBodies[0].rows].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === Infinity || y === Infinity) return x === y ? 0 : x === Infinity ? 1 : -1;
      return sign * (x < y ? -1 : x > y ? 1 : 0);
    });
    table.tBodies[0].append(...rows);
  });
}
)js";

}  // namespace lowbit
