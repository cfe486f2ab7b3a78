// The dashboard: one page and its files, each by its name. Nothing else of the disk can be asked
// for.
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import type { HttpAnswer } from '../answer.ts'
import type { Route } from '../routes.ts'
import { PAGE, PAGE_HEADERS } from './page.ts'
import { STYLE } from './style.ts'

const MODULES = [
  'amqp',
  'api',
  'clients',
  'confirm',
  'groups',
  'main',
  'messages',
  'mqtt',
  'overview',
  'parts',
  'reset',
  'topics',
  'trail',
  'users',
] as const

/** What the browser loads of packages. */
const VENDOR: Readonly<Record<string, string>> = {
  'preact.js': 'preact',
  'preact-hooks.js': 'preact/hooks',
  'preact-jsx-runtime.js': 'preact/jsx-runtime',
  'uplot.js': 'uplot/dist/uPlot.esm.js',
  'uplot.css': 'uplot/dist/uPlot.min.css',
}

const SCRIPT = 'text/javascript; charset=utf-8'
const STYLES = 'text/css; charset=utf-8'

const typeOf = (name: string): string => (name.endsWith('.css') ? STYLES : SCRIPT)

const routeTo = (path: string, serve: () => HttpAnswer | Promise<HttpAnswer>): Route => ({
  method: 'GET',
  path,
  serve,
})

export const dashboardRoutes = (): readonly Route[] => [
  routeTo('/', () => ({ type: 'text/html; charset=utf-8', headers: PAGE_HEADERS, body: PAGE })),
  routeTo('/assets/style.css', () => ({ type: STYLES, body: STYLE })),
  ...MODULES.map((name) =>
    fileRoute(
      `/assets/${name}.js`,
      () => new URL(`../../../../dashboard/${name}.js`, import.meta.url),
    ),
  ),
  ...Object.entries(VENDOR).map(([name, path]) =>
    fileRoute(`/assets/vendor/${name}`, () => new URL(import.meta.resolve(path))),
  ),
]

/** Read once. */
function fileRoute(path: string, place: () => URL): Route {
  let body: Promise<Buffer> | undefined
  return routeTo(path, async () => {
    body ??= readFile(fileURLToPath(place()))
    return { type: typeOf(path), body: await body }
  })
}
