// The dashboard's files, as a browser asks for them; the pages in a browser are an interop test.
import { createHash } from 'node:crypto'
import test from 'ava'
import { systemClock } from '../../../src/clock.ts'
import { ask, openHttp } from '../../support/http.ts'

const IMPORT = /(?:^|\s)(?:import|export)\s[^'"]*?from\s*['"]([^'"]+)['"]/gm

test('the page and all that it imports is served, and of nothing but this server', async (t) => {
  const { port } = await openHttp(t, { clock: systemClock })
  const page = await ask(port, '/')
  t.is(page.status, 200)
  t.is(page.headers['content-type'], 'text/html; charset=utf-8')
  t.notRegex(page.text, /https?:/)
  const [, map = ''] = /<script type="importmap">(.*)<\/script>/.exec(page.text) ?? []
  const policy = String(page.headers['content-security-policy'])
  const hash = createHash('sha256').update(map).digest('base64')
  t.true(policy.startsWith("default-src 'none'; "))
  t.true(policy.includes(`script-src 'self' 'sha256-${hash}';`))
  t.notRegex(policy, /unsafe|\*|https?:/)
  const { imports } = JSON.parse(map) as { imports: Record<string, string> }
  const left = [...page.text.matchAll(/(?:href|src)="(assets[^"]+)"/g)].map(([, path]) => path!)
  const seen = new Set<string>()
  for (let path = left.pop(); path !== undefined; path = left.pop()) {
    if (seen.has(path)) continue
    seen.add(path)
    const file = await ask(port, `/${path}`)
    t.is(file.status, 200, path)
    const type = path.endsWith('.css') ? 'text/css' : 'text/javascript'
    t.is(file.headers['content-type'], `${type}; charset=utf-8`, path)
    t.is(file.headers['x-content-type-options'], 'nosniff')
    if (path.includes('vendor')) continue
    for (const [, named] of file.text.matchAll(IMPORT)) {
      const to = named!.startsWith('.') ? `./assets/${named!.slice(2)}` : imports[named!]
      t.truthy(to, `${path} imports ${named}`)
      left.push(to!.slice(2))
    }
  }
  t.true(seen.size >= 14, `${[...seen]}`)
})

for (const path of [
  '/assets/',
  '/assets/../package.json',
  '/assets/..%2f..%2fpackage.json',
  '/assets/main.ts',
  '/assets/vendor/preact.mjs',
  '//assets/main.js',
]) {
  test(`${path} is no file of the dashboard`, async (t) => {
    const { port } = await openHttp(t, { clock: systemClock })
    t.is((await ask(port, path)).status, 404)
  })
}
