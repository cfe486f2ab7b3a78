import { BrokerError } from '../../../src/errors.ts'
import { newMessage } from '../../support/broker.ts'
import type { Case } from '../broker.ts'
import { nameOf } from './names.ts'

export function replies(test: Case): void {
  test('a reply is pushed by the gateway that has its client, and its outcome is that of the push', async (t, broker) => {
    const { replies: port } = broker.port
    const [here, there, absent] = [nameOf('here'), nameOf('there'), nameOf('absent')]
    const pushed: string[] = []
    const gateways = [here, there].map((own) =>
      port.serve(async (clientId, { body }) => {
        if (clientId !== own) throw new BrokerError('CLIENT_NOT_FOUND', 'not here')
        if (Buffer.from(body).toString() === 'no') throw new BrokerError('ABORTED', 'refused')
        pushed.push(clientId)
      }),
    )
    const push = (clientId: string, body = 'yes'): Promise<unknown> =>
      port.push(clientId, newMessage('T', { body })).then(() => 'pushed', codeThrown)
    t.is(await push(there), 'pushed')
    t.is(await push(here), 'pushed')
    t.is(await push(absent), 'CLIENT_NOT_FOUND')
    t.is(await push(there, 'no'), 'ABORTED')
    gateways[1]![Symbol.dispose]()
    t.is(await push(there), 'CLIENT_NOT_FOUND')
    t.deepEqual(pushed, [there, here])
    for (const gateway of gateways) gateway[Symbol.dispose]()
  })
}

const codeThrown = (error: unknown): string => BrokerError.from(error).code
