// What an administrator does on the dashboard, in a real browser: links of AMQP, users and rights,
// moving groups, deleting. What cannot be undone is asked first, with what is lost.
import type { Page } from 'playwright-core'
import { connectRhea } from '../test/support/amqp/rhea-client.ts'
import { cheapHash } from '../test/support/cheap-password.ts'
import { mqttClient } from '../test/support/mqtt/mqtt.ts'
import { cells, inBrowser, open, violations } from './support/browser.ts'

/** A topic with three messages, and a group at a place in it. */
async function prepare(base: string, queues: number, to: 'first' | 'end'): Promise<void> {
  const ask = async (method: string, path: string, body: object): Promise<void> => {
    const headers = { 'Content-Type': 'application/json' }
    const init = { method, headers, body: JSON.stringify(body) }
    const { ok, status } = await fetch(`${base}/api/v1/${path}`, init)
    if (!ok) throw new Error(`${method} ${path}: ${status}`)
  }
  await ask('PUT', 'topics/orders', { queues })
  for (const body of ['one', 'two', 'three']) await ask('POST', 'topics/orders/messages', { body })
  await ask('PUT', 'groups/billing', {})
  await ask('POST', 'groups/billing/reset', { topic: 'orders', to })
}

const dialog = (page: Page) => page.getByRole('dialog')

inBrowser(
  'links of AMQP are shown with their credit, and found by what the client does',
  async (t) => {
    const { page, go, port, errors } = await open(t)
    const client = await connectRhea(t, port('amqp'), { container_id: 'till' })
    await client.sender({ name: 'out', target: 'orders' })
    const receiver = await client.receiver({ name: 'in', source: 'orders::billing' })
    receiver.credit(7)
    await go('amqp')
    await page.getByRole('cell', { name: 'orders::billing' }).waitFor()
    await page.getByLabel('The client').selectOption('receiver')
    await page.getByRole('cell', { name: 'out' }).waitFor({ state: 'detached' })
    const [container, , user, ...rest] = await cells(page, 'Links by container')
    t.deepEqual([container, user], ['till', '-'])
    t.deepEqual(rest, ['in', 'receives', 'orders::billing', 'billing', '7', '0'])
    t.deepEqual(errors, [])
  },
)

inBrowser('a group is moved, by keyboard alone, once it was said what it gets again', async (t) => {
  const { page, go, base, errors } = await open(t)
  await prepare(base, 1, 'end')
  await go('groups/billing')
  await page.getByRole('combobox', { name: 'To', exact: true }).selectOption('first')
  await page.getByRole('button', { name: 'Move' }).focus()
  await page.keyboard.press('Enter')
  await dialog(page).getByText('3 messages that it has consumed come again.').waitFor()
  await page.keyboard.press('Escape')
  await dialog(page).waitFor({ state: 'detached' })
  t.is(await page.evaluate('document.activeElement.textContent'), 'Move')
  await page.keyboard.press('Enter')
  await dialog(page).waitFor()
  await page.keyboard.press('Tab')
  t.is(await page.evaluate('document.activeElement.textContent'), 'Move')
  await page.keyboard.press('Enter')
  await page.getByText('billing was moved in orders.').waitFor()
  await page.getByText('Lag: 3').waitFor()
  t.deepEqual(errors, [])
})

inBrowser('a topic and a group are deleted when their names were typed', async (t) => {
  const { page, go, base, errors } = await open(t)
  await prepare(base, 2, 'first')
  await go('topics/orders')
  await page.getByRole('cell', { name: 'billing' }).waitFor()
  await page.getByRole('button', { name: 'Delete the topic' }).click()
  const lost = await dialog(page).getByRole('listitem').allInnerTexts()
  t.deepEqual(lost, [
    '3 messages in 2 queues',
    'the place of the group billing, which has not consumed 3 of them',
    'what MQTT retains of it',
  ])
  const confirm = dialog(page).getByRole('button', { name: 'Delete the topic' })
  t.true(await confirm.isDisabled())
  await page.getByLabel('Type orders to go on').fill('orders')
  await confirm.click()
  await page.getByRole('heading', { level: 1, name: 'Topics' }).waitFor()
  t.is((await fetch(`${base}/api/v1/topics/orders`)).status, 404)
  await go('groups/billing')
  await page.getByRole('button', { name: 'Delete the group' }).click()
  await page.getByLabel('Type billing to go on').fill('billing')
  await dialog(page).getByRole('button', { name: 'Delete the group' }).click()
  await page.getByRole('heading', { level: 1, name: 'Groups' }).waitFor()
  t.is((await fetch(`${base}/api/v1/groups/billing`)).status, 404)
  t.deepEqual(errors, [])
})

inBrowser('users are made, given rights, disabled and deleted', async (t) => {
  const users = { root: { password: cheapHash('a word'), admin: true } }
  const { page, go, errors } = await open(t, { users })
  await go('users')
  await page.getByLabel('User', { exact: true }).fill('root')
  await page.getByLabel('Password', { exact: true }).fill('a word')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByLabel('Name').fill('till')
  await page.getByLabel('Its password').fill('a long word')
  await page.getByRole('button', { name: 'Create' }).click()
  await page.getByRole('link', { name: 'till' }).click()
  await page.getByLabel('Resource').fill('Topic:orders')
  await page.getByLabel('Pub').check()
  await page.getByLabel('Create').check()
  await page.getByRole('button', { name: 'Give rights' }).click()
  await page.getByRole('cell', { name: 'Topic:orders', exact: true }).waitFor()
  const rights = await cells(page, 'What it may do, and with what')
  t.deepEqual(rights.slice(0, 4), ['Topic:orders', 'Pub, Create', 'Allow', 'Custom'])
  await page.getByRole('button', { name: 'Take away Topic:orders' }).click()
  await dialog(page).getByText('The entry "Allow Pub, Create" is lost').waitFor()
  await dialog(page).getByRole('button', { name: 'Take away' }).click()
  await page.getByText('No rights were given.').waitFor()
  await page.getByRole('button', { name: 'Disable' }).click()
  await page.getByText('It is disabled.').waitFor()
  await page.getByRole('button', { name: 'Delete the user' }).click()
  await dialog(page).getByText('all of its rights are lost').waitFor()
  await dialog(page).getByRole('button', { name: 'Delete the user' }).click()
  await page.getByRole('heading', { level: 1, name: 'Users' }).waitFor()
  await page.getByRole('link', { name: 'till' }).waitFor({ state: 'detached' })
  await page.getByRole('link', { name: 'root' }).click()
  await page.getByText('It is kept in the configuration').waitFor()
  t.is(await page.getByRole('button', { name: 'Give rights' }).count(), 0)
  t.deepEqual(errors, [])
})

for (const colorScheme of ['light', 'dark'] as const) {
  inBrowser(
    `every page holds WCAG AA in ${colorScheme} colours, as axe-core sees it`,
    async (t) => {
      const { page, go, base, port, errors } = await open(t)
      await prepare(base, 2, 'first')
      const client = await connectRhea(t, port('amqp'), { container_id: 'till' })
      await client.receiver({ name: 'in', source: 'orders::billing' })
      await mqttClient(t, port('mqtt'), 5, { clientId: 'sensor' })
      await page.emulateMedia({ colorScheme })
      for (const [path, seen] of PAGES) {
        await go(path)
        await page.getByText(seen).first().waitFor()
        t.deepEqual(await violations(page), [], path)
        if (SHOTS !== undefined) {
          const file = `${SHOTS}/${colorScheme}-${path.replaceAll('/', '-')}.png`
          await page.screenshot({ path: file, fullPage: true })
        }
      }
      await go('topics/orders')
      await page.getByRole('button', { name: 'Delete the topic' }).click()
      await dialog(page).getByText('what MQTT retains of it').waitFor()
      t.deepEqual(await violations(page), [], 'the question')
      if (SHOTS !== undefined)
        await page.screenshot({ path: `${SHOTS}/${colorScheme}-question.png` })
      t.deepEqual(errors, [])
    },
  )
}

/** With a text that is there when the page is. */
const PAGES: readonly (readonly [string, string])[] = [
  ['', 'broker-a'],
  ['topics', 'orders'],
  ['topics/orders', 'Delete the topic'],
  ['groups', 'billing'],
  ['groups/billing', 'Delete the group'],
  ['clients', 'sensor'],
  ['mqtt', 'sensor'],
  ['mqtt/sensor', 'It subscribes to nothing.'],
  ['amqp', 'orders::billing'],
  ['users', 'There are no users'],
]

/** A folder for pictures of the pages, to be looked at. */
const SHOTS = process.env['TRIVET_SCREENSHOTS']
