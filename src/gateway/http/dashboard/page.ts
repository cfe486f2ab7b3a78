// The one page of the dashboard, and what a browser may load for it: files of this server alone.
import { createHash } from 'node:crypto'

/** Where the browser finds the packages that the dashboard's modules name. */
const IMPORT_MAP = JSON.stringify({
  imports: {
    preact: './assets/vendor/preact.js',
    'preact/hooks': './assets/vendor/preact-hooks.js',
    'preact/jsx-runtime': './assets/vendor/preact-jsx-runtime.js',
    uplot: './assets/vendor/uplot.js',
  },
})

/** It stands in the page, for a browser takes no import map from a file. */
const mapHash = createHash('sha256').update(IMPORT_MAP).digest('base64')

export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'Content-Security-Policy': [
    "default-src 'none'",
    `script-src 'self' 'sha256-${mapHash}'`,
    "style-src 'self'",
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; '),
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
}

export const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>TrivetMQ</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/vendor/uplot.css">
<link rel="stylesheet" href="assets/style.css">
<script type="importmap">${IMPORT_MAP}</script>
<script type="module" src="assets/main.js"></script>
</head>
<body>
<div id="app"><noscript>The dashboard needs JavaScript; the commands of trivet do not.</noscript></div>
</body>
</html>
`
