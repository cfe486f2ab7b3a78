// /metrics: the numbers as Prometheus reads them.

import type { Authenticator } from '../../access/auth.ts'
import type { Clock } from '../../clock.ts'
import { exposition } from '../../numbers/exposition.ts'
import type { Numbers } from '../../numbers/numbers.ts'
import { shared } from '../../numbers/shared.ts'
import type { HttpAnswer } from './answer.ts'
import type { Route } from './routes.ts'

interface MetricsContext {
  readonly auth: Authenticator
  readonly clock: Clock
  readonly numbers: Numbers
  readonly node: Readonly<Record<string, string>>
}

/** @param isOpen without credentials */
export function metricsRoutes(context: MetricsContext, isOpen: boolean): readonly Route[] {
  const { auth, clock, numbers, node } = context
  // However many ask: the numbers are gathered once at a time, and written once.
  const collect = shared(async (): Promise<HttpAnswer> => {
    const body = await exposition(await numbers.readAll(), node, clock)
    return { type: 'text/plain; version=0.0.4; charset=utf-8', body }
  })
  return [
    {
      method: 'GET',
      path: '/metrics',
      async serve(call) {
        if (!(isOpen && !auth.anonymousAllowed)) {
          auth.authorize(await call.principal(), 'read', { kind: 'cluster' })
        }
        return collect()
      },
    },
  ]
}
