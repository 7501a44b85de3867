//! Circles among dependences.

use super::at::At;

/// Finds circles: each is a list of indices in which every one depends on the next, and the last on the first. No index
/// is in two of them; there is none exactly when the processes can be put in order.
pub(super) fn find(dependences: &[Vec<At<usize>>]) -> Vec<Vec<usize>> {
    let mut is_open = vec![true; dependences.len()];
    let mut circles = Vec::new();
    loop {
        close_what_can_be_ordered(dependences, &mut is_open);
        let Some(start) = is_open.iter().position(|open| *open) else { return circles };
        let circle = walk(dependences, &is_open, start);
        for &index in &circle {
            is_open[index] = false;
        }
        circles.push(circle);
    }
}

/// Closes, again and again, all whose dependences are closed (Kahn's algorithm, linear).
fn close_what_can_be_ordered(dependences: &[Vec<At<usize>>], is_open: &mut [bool]) {
    let mut dependents = vec![Vec::new(); dependences.len()];
    let mut waits_for = vec![0_usize; dependences.len()];
    for (index, edges) in dependences.iter().enumerate().filter(|(index, _)| is_open[*index]) {
        for edge in edges.iter().filter(|edge| is_open[edge.value]) {
            dependents[edge.value].push(index);
            waits_for[index] += 1;
        }
    }
    let mut free: Vec<usize> =
        (0..dependences.len()).filter(|&index| is_open[index] && waits_for[index] == 0).collect();
    while let Some(index) = free.pop() {
        is_open[index] = false;
        for &dependent in &dependents[index] {
            waits_for[dependent] -= 1;
            if waits_for[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
}

/// Follows open dependences, of which every open one has some, until a place is reached again.
fn walk(dependences: &[Vec<At<usize>>], is_open: &[bool], start: usize) -> Vec<usize> {
    let mut path = Vec::new();
    let mut place_in_path = vec![None; dependences.len()];
    let mut here = start;
    loop {
        if let Some(place) = place_in_path[here] {
            let mut circle = path.split_off(place);
            // From the one that stands first in the file.
            let first = circle.iter().enumerate().min_by_key(|(_, index)| **index).map_or(0, |(place, _)| place);
            circle.rotate_left(first);
            return circle;
        }
        place_in_path[here] = Some(path.len());
        path.push(here);
        let next = dependences[here].iter().map(|edge| edge.value).find(|&next| is_open[next]);
        here = next.unwrap_or(here);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(edges: &[&[usize]]) -> Vec<Vec<usize>> {
        let at = |&value: &usize| At { span: 0..0, value };
        find(&edges.iter().map(|edges| edges.iter().map(at).collect()).collect::<Vec<_>>())
    }

    #[test]
    fn what_can_be_ordered_has_no_circle() {
        assert_eq!(circles(&[&[1, 2], &[2], &[], &[0]]), Vec::<Vec<usize>>::new());
    }

    #[test]
    fn a_circle_is_told_from_its_first_and_without_what_leads_to_it() {
        assert_eq!(circles(&[&[2], &[3], &[1], &[2], &[0]]), vec![vec![1, 3, 2]]);
    }

    #[test]
    fn all_circles_that_share_nothing_are_found() {
        assert_eq!(circles(&[&[1], &[0, 3], &[0], &[4], &[3], &[5]]), vec![vec![0, 1], vec![3, 4], vec![5]]);
    }
}
