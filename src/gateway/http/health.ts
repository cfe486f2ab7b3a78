// Whether the process answers, and whether clients should be sent to it.
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { GatewayContext } from '../../port/gateway.ts'
import { type HttpAnswer, json } from './answer.ts'
import { HttpError } from './errors.ts'
import type { HttpCall, Route } from './routes.ts'

/** A cluster that does not answer is not ready. */
const STATUS_MS = 2_000

const CHECKS = ['stage', 'broker', 'writable', 'views', 'nameServer'] as const
type CheckName = (typeof CHECKS)[number]

interface Check {
  readonly name: CheckName
  /** What is wrong; undefined: nothing. */
  readonly failure: string | undefined
}

type Running = Pick<GatewayContext, 'broker' | 'routes'>

export class Readiness {
  readonly #clock: Clock
  #stage: 'starting' | 'running' | 'stopping' = 'starting'
  #running: Running | undefined

  constructor(clock: Clock) {
    this.#clock = clock
  }

  running(context: Running): void {
    this.#running = context
    this.#stage = 'running'
  }

  stopping(): void {
    this.#stage = 'stopping'
  }

  async checks(): Promise<readonly Check[]> {
    const running = this.#running
    if (this.#stage !== 'running' || running === undefined) {
      return [{ name: 'stage', failure: this.#stage }]
    }
    const ok: Check = { name: 'stage', failure: undefined }
    return [ok, ...(await this.#brokerChecks(running)), ...nameServerChecks(running)]
  }

  async #brokerChecks({ broker }: Running): Promise<readonly Check[]> {
    const answered = new AbortController()
    try {
      const status = await Promise.race([broker.status(), this.#late(answered.signal)])
      const { writable, reason, isRebuilding } = status
      return [
        { name: 'broker', failure: undefined },
        { name: 'writable', failure: writable ? undefined : (reason ?? 'takes no messages') },
        { name: 'views', failure: isRebuilding ? 'being built again from the log' : undefined },
      ]
    } catch (error) {
      return [{ name: 'broker', failure: BrokerError.from(error).message }]
    } finally {
      answered.abort()
    }
  }

  async #late(answered: AbortSignal): Promise<never> {
    await sleep(this.#clock, STATUS_MS, answered)
    throw new BrokerError('TIMED_OUT', `no answer within ${STATUS_MS} ms`)
  }
}

/** Native clients find the broker by a name server that was told; there may be none to tell. */
const nameServerChecks = ({ routes }: Running): readonly Check[] => {
  if (routes === undefined) return []
  const failure = routes.isKnown ? undefined : 'none knows this broker'
  return [{ name: 'nameServer', failure }]
}

export const healthRoutes = (readiness: Readiness): readonly Route[] => [
  {
    method: 'GET',
    path: '/healthz',
    isCheap: true,
    serve: () => json({ status: 'ok' }),
  },
  {
    method: 'GET',
    path: '/readyz',
    isCheap: true,
    serve: (call) => readyz(readiness, call),
  },
]

async function readyz(readiness: Readiness, { query }: HttpCall): Promise<HttpAnswer> {
  const excluded = query.getAll('exclude')
  const unknown = excluded.find((name) => !CHECKS.some((check) => check === name))
  if (unknown !== undefined) {
    const text = `there is no check '${unknown.slice(0, 80)}'; the checks are ${CHECKS.join(', ')}`
    throw new HttpError(400, text)
  }
  const checks = (await readiness.checks()).filter(({ name }) => !excluded.includes(name))
  const isReady = checks.every(({ failure }) => failure === undefined)
  const shown = checks.map(({ name, failure }) => [name, failure ?? 'ok'])
  const status = isReady ? 'ready' : 'not ready'
  return json({ status, checks: Object.fromEntries(shown) }, isReady ? 200 : 503)
}
