// An HTTP front-end over a real listener, and requests that a browser's fetch would not make.
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { User } from '../../src/access/known-users.ts'
import { UserStore } from '../../src/access/user-store.ts'
import type { Clock } from '../../src/clock.ts'
import { HTTP_DEFAULTS, type HttpOptions } from '../../src/gateway/http/options.ts'
import { HttpGateway } from '../../src/gateway/http/server.ts'
import { type Logger, silentLogger } from '../../src/log.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import { openFrontEnd } from './front-end.ts'
import type { Teardown } from './temp-dir.ts'

export const NODE = { cluster: 'C', node_type: 'broker', node_id: 'broker-a' }

export interface HttpOptionsOfTest {
  readonly clock: Clock
  readonly options?: Partial<HttpOptions>
  readonly log?: Logger
  readonly users?: Readonly<Record<string, User>>
}

export async function openHttp(
  t: Teardown,
  { clock, options, log = silentLogger, users = {} }: HttpOptionsOfTest,
) {
  const numbers = new Numbers()
  const auth = new UserStore(users, clock)
  const gateway = new HttpGateway(
    { auth, log, clock, numbers, node: NODE },
    { ...HTTP_DEFAULTS, ...options },
  )
  const { port, close } = await openFrontEnd(t, gateway, { clock })
  return { gateway, auth, numbers, port, close }
}

export interface HttpResponse {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
  /** Of a body of JSON. */
  readonly json: () => Record<string, unknown>
}

export interface HttpQuestion {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** One request, over a connection of its own. */
export async function ask(
  port: number,
  path: string,
  { method = 'GET', headers = {}, body }: HttpQuestion = {},
): Promise<HttpResponse> {
  const asked = request({ host: '127.0.0.1', port, path, method, headers, agent: false })
  asked.end(body)
  const [response] = (await once(asked, 'response')) as [IncomingMessage]
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    text,
    json: () => JSON.parse(text) as Record<string, unknown>,
  }
}

export const basic = (user: string, password: string): Record<string, string> => ({
  Authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
})
