// The dashboard in a real browser: Debian's chromium, driven by playwright-core.
import { openBroker } from '../src/broker/broker.ts'
import { connect } from '../src/client/index.ts'
import { systemClock } from '../src/clock.ts'
import { silentLogger } from '../src/log.ts'
import { openStore } from '../src/store/open.ts'
import { connectRhea } from '../test/support/amqp/rhea-client.ts'
import { cheapHash } from '../test/support/cheap-password.ts'
import { mqttClient } from '../test/support/mqtt/mqtt.ts'
import { tempDir } from '../test/support/temp-dir.ts'
import { cells, inBrowser, logIn, open, prepare } from './support/browser.ts'

/** Faster than by clients, which wait for name servers to know. */
async function makeTopics(directory: string, names: readonly string[]): Promise<void> {
  const host = { ip: 0x7f000001, port: 10_911 }
  const context = { clock: systemClock, log: silentLogger }
  const store = await openStore({ ...context, directory, storeHost: host })
  const broker = openBroker({ ...context, store, options: { topicsMax: 20_000 } })
  const topic = { readQueues: 1, writeQueues: 1, perm: 6, ordered: false, sysFlag: 0 }
  await Promise.all(names.map((name) => broker.topics.put({ ...topic, name })))
  await broker.close()
  await store.close()
}

inBrowser('topics are made, and messages sent, found and opened', async (t) => {
  const { page, go, errors } = await open(t)
  await go('topics')
  await page.getByLabel('New topic').fill('orders')
  await page.getByLabel('Queues').fill('2')
  await page.getByRole('button', { name: 'Create' }).click()
  await page.getByRole('link', { name: 'orders' }).click()
  await page.getByRole('heading', { level: 1, name: 'orders' }).waitFor()
  await page.getByRole('textbox', { name: 'Body' }).fill('<b>hällo</b>')
  await page.getByLabel('Tag').fill('paid')
  await page.getByLabel('Keys, with blanks between').fill('o-1 c-7')
  await page.getByRole('button', { name: 'Send' }).click()
  await page.getByText(/^Stored as/).waitFor()
  await page.getByLabel('Find').selectOption('key')
  await page.getByRole('textbox', { name: 'By key' }).fill('c-7')
  await page.getByRole('button', { name: 'Search' }).click()
  await page.getByRole('button', { name: /show message/ }).click()
  const message = page.getByRole('article')
  t.is(await message.getByRole('textbox').inputValue(), '<b>hällo</b>')
  const found = await cells(page, 'Messages found')
  t.deepEqual(found.slice(3), ['paid', 'o-1 c-7', '<b>hällo</b>'])
  t.deepEqual(errors, [])
})

inBrowser('a group shows its lag and members, and replays a dead letter', async (t) => {
  const { page, go, address, errors } = await open(t)
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: 'orders', queues: 1 })
  await mq.send({ topic: 'orders', body: 'bad', keys: ['o-1'] })
  const subscription = mq.subscribe({
    group: 'billing',
    topic: 'orders',
    from: 'first',
    retriesMax: 0,
  })
  for await (const delivery of subscription) {
    await delivery.nack()
    break
  }
  await go('groups/billing')
  await page.getByRole('button', { name: /^Replay/ }).click()
  await page.getByText(/was sent to orders again/).waitFor()
  await page.getByText('Lag: 1').waitFor()
  const places = await cells(page, 'Place in each queue')
  t.true(places.includes('orders'))
  t.deepEqual(errors, [])
})

inBrowser('of a message it is told which groups are done with it, of any protocol', async (t) => {
  const { page, go, port, base, errors } = await open(t)
  await prepare(base, 1, 'first')
  const client = await connectRhea(t, port('amqp'))
  const receiver = await client.receiver('orders::audit')
  const read = new Promise<void>((resolve) => {
    let count = 0
    receiver.link.on('message', ({ delivery }) => {
      delivery?.accept()
      if (++count === 3) resolve()
    })
  })
  receiver.credit(3)
  await read
  await go('topics/orders')
  await page
    .getByRole('button', { name: /show message/ })
    .first()
    .click()
  const done = 'done with: settled, or on its way to be tried again'
  await page.getByRole('cell', { name: done }).waitFor()
  const told = await cells(page, 'Groups of its topic, 20 at most, and the message')
  t.deepEqual(told, ['audit', 'amqp', done, 'billing', '-', 'not settled'])
  t.deepEqual(errors, [])
})

inBrowser('the overview draws the rates, also by keyboard alone and in the dark', async (t) => {
  const { page, go, errors, base } = await open(t)
  await page.emulateMedia({ colorScheme: 'dark' })
  await page.goto(base)
  await page.getByRole('heading', { level: 1, name: 'broker-a' }).waitFor()
  await page.locator('canvas').waitFor()
  const back = await page.evaluate('getComputedStyle(document.body).backgroundColor')
  t.is(back, 'rgb(18, 24, 30)')
  for (const name of ['To the content', 'Overview', 'Topics']) {
    await page.keyboard.press('Tab')
    t.is(await page.evaluate('document.activeElement.textContent'), name)
  }
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { level: 1, name: 'Topics' }).waitFor()
  await go('clients')
  await page.getByText('No client is connected').waitFor()
  t.deepEqual(errors, [])
})

inBrowser('ten thousand topics come page by page', async (t) => {
  const name = (n: number): string => `topic-${String(n).padStart(5, '0')}`
  const dataDir = await tempDir(t)
  await makeTopics(
    dataDir,
    Array.from({ length: 10_000 }, (_, n) => name(n)),
  )
  const { page, go, errors } = await open(t, { dataDir, broker: { topicsMax: 20_000 } })
  await go('topics')
  await page.getByRole('link', { name: name(98), exact: true }).waitFor()
  await page.getByRole('button', { name: 'Next page' }).click()
  await page.getByRole('link', { name: name(99), exact: true }).waitFor()
  // With other filters the list begins at its first page.
  await page.getByLabel('Retry, dead-letter and system topics too').check()
  await page.getByRole('button', { name: 'First page', disabled: true }).waitFor()
  await page.getByLabel('Name contains').fill('topic-0987')
  await page.getByRole('link', { name: name(9_875), exact: true }).waitFor()
  t.is(await page.getByRole('link', { name: /^topic-/ }).count(), 10)
  t.deepEqual(errors, [])
})

inBrowser('with users nothing is shown before a login', async (t) => {
  const users = { root: { password: cheapHash('a word'), admin: true } }
  const { page, go, errors } = await open(t, { users })
  await go('topics')
  await page.getByText('credentials are needed').waitFor()
  await logIn(page, 'root', 'another word')
  await page.getByText('Unknown user or wrong password.').waitFor()
  await logIn(page, 'root', 'a word')
  await page.getByText('There are no topics').or(page.getByRole('table')).waitFor()
  await page.getByRole('button', { name: 'Log out' }).click()
  await page.getByText('credentials are needed').waitFor()
  t.deepEqual(errors, [])
})

inBrowser(
  'MQTT sessions show their subscriptions, and retained names are found by a filter',
  async (t) => {
    const { page, go, port, errors } = await open(t)
    const sensor = await mqttClient(t, port('mqtt'), 5, { clientId: 'sensor/1' })
    await sensor.subscribe('plant/+/state', { qos: 1 })
    await sensor.publish('plant/one/state', 'on', { qos: 1, retain: true })
    await sensor.publish('hall/state', 'on', { qos: 1, retain: true })
    await go('mqtt')
    await page.getByLabel('Filter').fill('plant/#')
    await page.getByRole('cell', { name: 'hall/state' }).waitFor({ state: 'detached' })
    t.deepEqual(await cells(page, 'Names with a retained message'), ['plant/one/state'])
    await page.getByRole('link', { name: 'sensor/1' }).click()
    await page.getByRole('cell', { name: 'plant/+/state' }).waitFor()
    t.deepEqual(errors, [])
  },
)
