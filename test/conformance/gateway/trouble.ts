// Over a broker that fails: an acknowledgement is never given for what was not stored, no message
// is lost, and the front-end lives.
import test, { type ExecutionContext } from 'ava'
import { ERROR_CODES } from '../../../src/errors.ts'
import { freshSeed, Random } from '../../support/random.ts'
import { oneIn } from '../broker/unsteady-broker.ts'
import type { Client, Driver } from './driver.ts'
import { type Served, serve, TOPIC, turn } from './server.ts'

const MESSAGES = 80
const STREAMS = 20

/** A client that connects again when its connection ends. */
class Stubborn {
  readonly #served: Served
  #client: Client | undefined

  constructor(served: Served) {
    this.#served = served
  }

  async with<T>(use: (client: Client) => Promise<T>): Promise<T | undefined> {
    try {
      this.#client ??= await this.#served.connect()
      return await use(this.#client)
    } catch {
      this.drop()
      return undefined
    }
  }

  drop(): void {
    this.#client?.cut()
    this.#client = undefined
  }
}

export function troubleCases(driver: Driver): void {
  const { name } = driver

  test(`${name}: whatever the broker answers, a message it refused is not acknowledged`, async (t) => {
    const served = await serve(t, driver)
    const sender = new Stubborn(served)
    for (const code of ERROR_CODES) {
      served.unsteady.refuses = () => code
      const verdict = await sender.with((client) => client.send(TOPIC, 'x'))
      if (driver.acknowledges(code)) t.is(verdict, 'accepted', code)
      else t.not(verdict, 'accepted', code)
      if (verdict === 'unanswered') sender.drop()
      served.unsteady.refuses = () => undefined
      served.unsteady.fate = (call) => (call === 'publish' ? { refused: code } : 'done')
      const whole = await sender.with((client) => client.send(TOPIC, 'x'))
      if (!driver.acknowledges(code)) t.not(whole, 'accepted', code)
      sender.drop()
      served.unsteady.fate = () => 'done'
    }
    t.deepEqual(await served.stored(), [])
    t.is(await sender.with((client) => client.send(TOPIC, 'x')), 'accepted')
  })

  test(`${name}: of messages sent while the broker fails, those that are acknowledged are stored`, async (t) => {
    const served = await unsteady(t, driver)
    const sender = new Stubborn(served)
    const acknowledged: string[] = []
    for (let i = 0; i < MESSAGES; i++) {
      const verdict = await served.passing(sender.with((client) => client.send(TOPIC, `m${i}`)))
      if (verdict === 'accepted') acknowledged.push(`m${i}`)
      if (verdict === 'unanswered') sender.drop()
    }
    const stored = new Set(await served.stored())
    t.deepEqual(
      acknowledged.filter((body) => !stored.has(body)),
      [],
    )
    t.true(acknowledged.length > MESSAGES / 4, `${acknowledged.length} of ${MESSAGES}`)
  })

  test(`${name}: whichever calls the broker fails, the front-end serves others and the next`, async (t) => {
    const served = await serve(t, driver, { unsteady: { seed: freshSeed(t) } })
    served.unsteady.fate = oneIn(3)
    for (let i = 0; i < STREAMS; i++) {
      const { random } = served.unsteady
      const peer = await served.peer()
      peer.send(random.pick(driver.hellos))
      for (const frame of driver.frames) {
        peer.send(frame)
        if (random.chance(0.3)) await turn()
      }
      if (random.chance(0.5)) peer.end()
      else await served.passing(peer.leave())
    }
    served.unsteady.calm()
    await served.left(0)
    t.is(await (await served.connect()).send(TOPIC, 'x'), 'accepted')
  })

  test(`${name}: every message is delivered although the broker fails`, async (t) => {
    const served = await unsteady(t, driver)
    served.unsteady.calm()
    const sender = await served.connect()
    await sender.reader(TOPIC, 'g')
    const bodies = Array.from({ length: MESSAGES }, (_, i) => `m${i}`)
    await Promise.all(bodies.map((body) => sender.send(TOPIC, body)))
    sender.cut()
    served.unsteady.turnsMax = 4
    served.unsteady.fate = oneIn(20)
    const missing = new Set(bodies)
    const random = new Random(freshSeed(t))
    while (missing.size > 0) {
      const reading = new Stubborn(served)
      await served.passing(
        reading.with(async (client) => {
          const reader = await client.reader(TOPIC, 'g')
          while (missing.size > 0) {
            const delivery = await reader.take()
            missing.delete(delivery.body.toString())
            await delivery.accept()
            // Now and then it goes with messages that it has not settled.
            if (random.int(20) === 0) return
          }
        }),
        1_000,
      )
      reading.drop()
    }
    t.pass()
  })
}

/** Its publishes fail, with codes that are never acknowledged. */
function unsteady(t: ExecutionContext, driver: Driver): Promise<Served> {
  const fails = oneIn(
    4,
    ERROR_CODES.filter((code) => !driver.acknowledges(code)),
  )
  return serve(t, driver, {
    broker: { inFlightMax: 10_000 },
    unsteady: {
      seed: freshSeed(t),
      fate: (call, random) => (call === 'publish' ? fails(call, random) : 'done'),
    },
  })
}
