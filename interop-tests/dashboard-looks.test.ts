// How the pages of the dashboard look, in a real browser: every page in light and dark colours as
// axe-core sees it, and on a screen as narrow as a telephone's. With TRIVET_SCREENSHOTS=FOLDER
// there is a picture of each.
import type { Page } from 'playwright-core'
import { connectRhea } from '../test/support/amqp/rhea-client.ts'
import { cheapHash } from '../test/support/cheap-password.ts'
import { mqttClient } from '../test/support/mqtt/mqtt.ts'
import { inBrowser, logIn, open, prepare, violations, type Work } from './support/browser.ts'

const SHOTS = process.env['TRIVET_SCREENSHOTS']
const NARROW = { width: 320, height: 640 }

/** With a text that is there when the page is. */
const PAGES: readonly (readonly [string, string])[] = [
  ['', 'broker-a'],
  ['topics', 'orders'],
  ['topics/orders', 'Delete the topic'],
  ['groups', 'billing'],
  ['groups/billing', 'Delete the group'],
  ['clients', 'sensor'],
  ['mqtt', 'sensor'],
  ['mqtt/sensor', 'plant/+/state'],
  ['amqp', 'orders::billing'],
  ['users', 'New user'],
  ['users/root', 'It is kept in the configuration'],
  ['users/till', 'Take away'],
]

const ROOT = `Basic ${btoa('root:a word')}`

/** A broker with something to show on every page, of which the first is open, logged in. */
async function openAll(t: Parameters<Work>[0]) {
  const users = { root: { password: cheapHash('a word'), admin: true } }
  const opened = await open(t, { users })
  const { page, go, base, port } = opened
  await prepare(base, 2, 'first', ROOT)
  const headers = { 'Content-Type': 'application/json', Authorization: ROOT }
  const ask = (method: string, path: string, body: object) =>
    fetch(`${base}/api/v1/users${path}`, { method, headers, body: JSON.stringify(body) })
  await ask('POST', '', { name: 'till', password: 'a long word' })
  const entries = [{ resource: 'Topic:orders', actions: ['Pub', 'Create'] }]
  await ask('PUT', '/till/rights', { entries })
  const login = { username: 'root', password: 'a word' }
  const client = await connectRhea(t, port('amqp'), { container_id: 'till', ...login })
  await client.receiver({ name: 'in', source: 'orders::billing' })
  const sensor = await mqttClient(t, port('mqtt'), 5, { clientId: 'sensor', ...login })
  await sensor.subscribe('plant/+/state', { qos: 1 })
  await go('')
  await logIn(page, 'root', 'a word')
  return opened
}

const shoot = async (page: Page, name: string): Promise<void> => {
  if (SHOTS === undefined) return
  await page.screenshot({ path: `${SHOTS}/${name.replaceAll('/', '-')}.png`, fullPage: true })
}

/** By the address alone: what is loaded anew asks for the login again. */
const show = (page: Page, path: string): Promise<void> =>
  page.evaluate(`location.hash = '#/${path}'`)

for (const colorScheme of ['light', 'dark'] as const) {
  inBrowser(
    `every page holds WCAG AA in ${colorScheme} colours, as axe-core sees it`,
    async (t) => {
      const { page, errors } = await openAll(t)
      await page.emulateMedia({ colorScheme })
      for (const [path, seen] of PAGES) {
        await show(page, path)
        await page.getByText(seen).first().waitFor()
        t.deepEqual(await violations(page), [], path)
        await shoot(page, `${colorScheme}-${path}`)
      }
      await show(page, 'topics/orders')
      await page
        .getByRole('button', { name: /show message/ })
        .first()
        .click()
      await page.getByText('What became of it').waitFor()
      t.deepEqual(await violations(page), [], 'a message')
      await shoot(page, `${colorScheme}-message`)
      await page.getByRole('button', { name: 'Delete the topic' }).click()
      await page.getByRole('dialog').getByText('what MQTT retains of it').waitFor()
      t.deepEqual(await violations(page), [], 'the question')
      await shoot(page, `${colorScheme}-question`)
      t.deepEqual(errors, [])
    },
  )
}

inBrowser('no page is wider than a narrow screen, but for tables within it', async (t) => {
  const { page, errors } = await openAll(t)
  await page.setViewportSize(NARROW)
  for (const [path, seen] of PAGES) {
    await show(page, path)
    await page.getByText(seen).first().waitFor()
    const width = await page.evaluate('document.documentElement.scrollWidth')
    await shoot(page, `narrow-${path}`)
    t.is(width, NARROW.width, path)
  }
  t.deepEqual(errors, [])
})
