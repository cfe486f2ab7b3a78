// MQTT and AMQP over WebSocket in a browser: mqtt.js and rhea, as they are published for pages, in Chromium.
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { ExecutionContext } from 'ava'
import { chromium, type Page } from 'playwright-core'
import { spawnServer } from '../../test/support/server.ts'
import { eventually } from '../../test/support/waiting.ts'
import { needing } from '../support/needing.ts'

const CHROMIUM = '/usr/bin/chromium'
const missing = existsSync(CHROMIUM) ? undefined : `there is no ${CHROMIUM}`
const testBrowser = needing('WebSocket in a browser', missing)

const library = (path: string): string =>
  fileURLToPath(new URL(`../../../node_modules/${path}`, import.meta.url))

/** The words of the libraries that the pages use; they are checked where they run. */
interface PageLibraries {
  // biome-ignore lint/suspicious/noExplicitAny: globals of a page, without types
  readonly mqtt: any
  // biome-ignore lint/suspicious/noExplicitAny: globals of a page, without types
  readonly rheaUmd: any
}

/** An empty page of an origin of its own, with the libraries. */
async function openPage(t: ExecutionContext): Promise<{ page: Page; origin: string }> {
  const pages = createServer((_, response) => {
    response.setHeader('Content-Type', 'text/html').end('<!doctype html><title>empty</title>')
  }).listen(0, '127.0.0.1')
  t.teardown(() => pages.close())
  await once(pages, 'listening')
  const origin = `http://127.0.0.1:${(pages.address() as AddressInfo).port}`
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking'],
  })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  await page.goto(origin)
  await page.addScriptTag({ path: library('mqtt/dist/mqtt.min.js') })
  await page.addScriptTag({ path: library('rhea/dist/rhea-umd.js') })
  return { page, origin }
}

testBrowser('a page sends and receives by MQTT and AMQP', async (t) => {
  const { page, origin } = await openPage(t)
  const server = await spawnServer(t, { config: { webSocket: { origins: [origin] } } })
  const got = await page.evaluate(
    async (url) => {
      const { mqtt } = globalThis as unknown as PageLibraries
      const client = await mqtt.connectAsync(url, { protocolVersion: 5 })
      const message = new Promise((resolve) =>
        client.once('message', (topic: string, payload: Uint8Array) =>
          resolve(`${topic} ${new TextDecoder().decode(payload)}`),
        ),
      )
      await client.subscribeAsync('orders/#', { qos: 1 })
      await client.publishAsync('orders/page', 'by a page', { qos: 2 })
      const text = await message
      await client.endAsync()
      return text
    },
    `ws://${server.address('mqtt')}`,
  )
  t.is(got, 'orders/page by a page')

  const body = await page.evaluate(
    async (url) => {
      const { rheaUmd: rhea } = globalThis as unknown as PageLibraries
      const over = rhea.websocket_connect(WebSocket)
      const connection = rhea.connect({ connection_details: over(url, ['amqp']), reconnect: false })
      const sender = connection.open_sender('invoices')
      await new Promise((resolve) => sender.once('sendable', resolve))
      const accepted = new Promise((resolve) => sender.once('accepted', resolve))
      sender.send({ body: 'by a page' })
      await accepted
      const receiver = connection.open_receiver('invoices::readers')
      const [{ message }] = await new Promise<[{ message: { body: string } }]>((resolve) =>
        receiver.once('message', (...args: [{ message: { body: string } }]) => resolve(args)),
      )
      connection.close()
      return message.body
    },
    `ws://${server.address('amqp')}`,
  )
  t.is(body, 'by a page')
})

testBrowser('a page of another origin is refused, and the log names the setting', async (t) => {
  const { page } = await openPage(t)
  const server = await spawnServer(t)
  const isRefused = await page.evaluate(
    (url) =>
      new Promise<boolean>((resolve) => {
        const webSocket = new WebSocket(url, 'mqtt')
        webSocket.onopen = () => resolve(false)
        webSocket.onerror = () => resolve(true)
      }),
    `ws://${server.address('mqtt')}`,
  )
  t.true(isRefused)
  const said = /may not connect; webSocket\.origins names those that may/
  t.true(await eventually(async () => said.test(server.stderr)))
})
