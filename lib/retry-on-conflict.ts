import { setTimeout as delay } from 'node:timers/promises'
import { AppError } from './errors.ts'

/**
 * Runs `work` (read, decide, write with etags), and repeats it when another writer got in between.
 * This is the only retry inside the process, since only here can the read be repeated; all others
 * are Dapr's resiliency policies. Throws the last conflict after `attempts`.
 */
export async function retryOnConflict<T>(work: () => Promise<T>, attempts = 12): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work()
    } catch (error) {
      if (!(error instanceof AppError && error.kind === 'conflict') || attempt >= attempts) throw error
      await delay(Math.random() * Math.min(100, 2 ** attempt))
    }
  }
}
