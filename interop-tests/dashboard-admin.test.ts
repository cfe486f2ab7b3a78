// What an administrator does on the dashboard, in a real browser: links of AMQP, users and rights,
// moving groups, deleting. What cannot be undone is asked first, with what is lost.
import type { Page } from 'playwright-core'
import { connectRhea } from '../test/support/amqp/rhea-client.ts'
import { cheapHash } from '../test/support/cheap-password.ts'
import { cells, inBrowser, logIn, open, prepare } from './support/browser.ts'

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
  await logIn(page, 'root', 'a word')
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

inBrowser('no user is made before the configuration has an admin', async (t) => {
  const { page, go, errors } = await open(t)
  await go('users')
  await page.getByText('Users are made here once the configuration has an admin.').waitFor()
  t.is(await page.getByRole('button', { name: 'Create' }).count(), 0)
  t.deepEqual(errors, [])
})
