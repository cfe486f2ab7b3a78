// Debian's chromium, driven by playwright-core, before a broker of this process. A test says loudly
// that it was skipped where there is none.
import { existsSync } from 'node:fs'
import anyTest, { type ExecutionContext, type TestFn } from 'ava'
import axe from 'axe-core'
import { type Browser, chromium, type Page } from 'playwright-core'
import type { ConfigInput } from '../../src/config.ts'
import { startServer } from '../../test/support/server.ts'

const CHROMIUM = '/usr/bin/chromium'
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]
const isThere = existsSync(CHROMIUM)

const test = anyTest as TestFn<{ browser: Browser }>

test.before(async (t) => {
  if (isThere) t.context.browser = await chromium.launch({ executablePath: CHROMIUM, args: FLAGS })
})
test.after.always(async (t) => {
  await t.context.browser?.close()
})

export type Work = (t: ExecutionContext<{ browser: Browser }>) => Promise<void>

export function inBrowser(title: string, work: Work): void {
  if (isThere) test.serial(title, work)
  else
    test(`${title}: SKIPPED`, (t) => {
      t.log(`chromium is NOT INSTALLED at ${CHROMIUM}: the dashboard was not tried`)
      t.pass()
    })
}

/** A broker, a client of it, and a page that must meet no error. */
export async function open(t: ExecutionContext<{ browser: Browser }>, config: ConfigInput = {}) {
  const server = await startServer(t, { config })
  const context = await t.context.browser.newContext()
  const page = await context.newPage()
  page.setDefaultTimeout(60_000)
  const errors: string[] = []
  page.on('pageerror', (error) => void errors.push(error.message))
  page.on('console', (message) => {
    // The browser logs what is answered with a status of 400 or more.
    if (message.type() === 'error' && !/status of 40[13]/.test(message.text())) {
      errors.push(message.text())
    }
  })
  t.teardown(() => context.close())
  const base = `http://${server.address('http')}`
  const go = (path: string) => page.goto(`${base}/#/${path}`)
  return { ...server, page, errors, go, base }
}

export const cells = (page: Page, caption: string): Promise<string[]> =>
  page.getByRole('table', { name: caption }).locator('tbody td').allInnerTexts()

/** What axe-core finds on the page against WCAG 2.2 at its levels A and AA. */
export async function violations(page: Page): Promise<readonly string[]> {
  await page.evaluate(axe.source)
  const run = `axe.run({ runOnly: ${JSON.stringify(WCAG)} })`
  const { violations: found } = await page.evaluate<axe.AxeResults>(run)
  return found.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`))
}

const WCAG = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']

/** A topic with three messages, and a group at a place in it. */
export async function prepare(
  base: string,
  queues: number,
  to: 'first' | 'end',
  authorization?: string,
): Promise<void> {
  const ask = async (method: string, path: string, body: object): Promise<void> => {
    const headers = {
      'Content-Type': 'application/json',
      ...(authorization !== undefined && { Authorization: authorization }),
    }
    const init = { method, headers, body: JSON.stringify(body) }
    const { ok, status } = await fetch(`${base}/api/v1/${path}`, init)
    if (!ok) throw new Error(`${method} ${path}: ${status}`)
  }
  await ask('PUT', 'topics/orders', { queues })
  for (const body of ['one', 'two', 'three']) await ask('POST', 'topics/orders/messages', { body })
  await ask('PUT', 'groups/billing', {})
  await ask('POST', 'groups/billing/reset', { topic: 'orders', to })
}

export async function logIn(page: Page, user: string, password: string): Promise<void> {
  await page.getByLabel('User', { exact: true }).fill(user)
  await page.getByLabel('Password', { exact: true }).fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
}
