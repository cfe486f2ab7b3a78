// The look of the dashboard, light and dark. Text has a contrast of 7:1 at least against what it
// stands on, lines and focus 3:1.

export const STYLE = `
:root {
  color-scheme: light dark;
  --back: #ffffff; --raised: #f3f5f7; --text: #16202a; --faint: #3f4d5a; --line: #78838d; --grid: #dde2e6;
  --accent: #0b4f8a; --on-accent: #ffffff; --problem: #8a1010; --problem-back: #fdeeee;
  --in: #0b5fa5; --out: #a04400;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12181e; --raised: #1c242c; --text: #eef2f5; --faint: #c0cad3; --line: #74818d; --grid: #303a44;
    --accent: #8cc4f5; --on-accent: #0c1a26; --problem: #ffb4b4; --problem-back: #3a1414;
    --in: #6db6f2; --out: #f5a35c;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--back); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: .5rem 1.5rem; align-items: center; padding: .5rem 1rem;
  background: var(--raised); border-bottom: 1px solid var(--line); }
nav { display: flex; flex-wrap: wrap; gap: .25rem; flex: 1 1 18rem; }
nav a { padding: .35rem .75rem; border-radius: .3rem; text-decoration: none; }
nav a[aria-current] { background: var(--accent); color: var(--on-accent); }
a { color: var(--accent); }
main { padding: 0 1rem 3rem; max-width: 80rem; margin: 0 auto; }
main:focus-visible { outline: none; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2rem; }
.skip { position: absolute; left: -100vw; }
.skip:focus { position: static; display: inline-block; padding: .5rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.row, .login { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: .5rem 0; }
p.login { align-items: center; margin: 0; }
label { display: inline-flex; flex-direction: column; gap: .15rem; color: var(--faint); }
label.check { flex-direction: row; align-items: center; gap: .4rem; min-height: 2.25rem; }
input, select, textarea, button { font: inherit; color: var(--text); background: var(--back);
  border: 1px solid var(--line); border-radius: .3rem; padding: .3rem .5rem; }
input:not([type=checkbox]), select, button:not(.link) { min-height: 2.25rem; }
textarea { width: 100%; min-width: min(40rem, 90vw); font-family: ui-monospace, monospace; }
button { background: var(--raised); cursor: pointer; white-space: nowrap; }
button[type=submit] { background: var(--accent); color: var(--on-accent); border-color: var(--accent); }
button.danger { color: var(--problem); border-color: var(--problem); background: var(--problem-back); }
button:disabled { opacity: .55; cursor: default; }
button.link { text-align: left; background: none; border: none; padding: 0; color: var(--accent); text-decoration: underline; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
caption { text-align: left; color: var(--faint); padding: .25rem 0; }
th, td { text-align: left; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere; }
td { min-width: 7rem; } td.figure { min-width: 0; }
th { white-space: nowrap; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; padding-right: 1.5rem; }
.preview { overflow-wrap: anywhere; }
.pager { display: flex; gap: 1rem; align-items: center; }
.problem { color: var(--problem); background: var(--problem-back); padding: .5rem .75rem; border-radius: .3rem; }
.empty { color: var(--faint); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr)); gap: .75rem; }
.tiles div { background: var(--raised); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.tiles dd { font-size: 1.25rem; font-variant-numeric: tabular-nums; }
article { border: 1px solid var(--line); border-radius: .4rem; padding: 0 1rem 1rem; margin: 1rem 0; }
article dl div { display: grid; grid-template-columns: minmax(8rem, 14rem) 1fr; gap: 1rem; }
pre { background: var(--raised); padding: .75rem; overflow: auto; max-height: 30rem; white-space: pre-wrap;
  overflow-wrap: anywhere; border-radius: .3rem; }
dialog { color: var(--text); background: var(--back); border: 2px solid var(--problem); border-radius: .4rem;
  padding: 0 1.25rem 1rem; max-width: min(36rem, 92vw); overflow-wrap: anywhere; }
dialog::backdrop { background: rgb(0 0 0 / .55); }
dialog h2 { margin-top: 1rem; }
dialog label { display: flex; }
fieldset { border: 1px solid var(--line); border-radius: .3rem; } legend { color: var(--faint); }
figure { margin: 0; } .u-legend th, .u-legend td { border: 0; } figcaption { color: var(--faint); }
`
